"""The ids and strings that LLaVA checkpoints, prompts and other programs agree on.

They are facts of the published checkpoints: changing one breaks every prompt and every stored answer.
"""

# Label that the loss skips, and the stand-in id that marks an image among token ids (no vocabulary has negative ids).
IGNORE_INDEX = -100
IMAGE_TOKEN_INDEX = -200

# What stands for an image in a prompt; tokenizer_image_token turns each one into IMAGE_TOKEN_INDEX.
DEFAULT_IMAGE_TOKEN = "<image>"

# Only checkpoints with mm_use_im_start_end / mm_use_im_patch_token true have these in their vocabulary.
DEFAULT_IM_START_TOKEN = "<im_start>"
DEFAULT_IM_END_TOKEN = "<im_end>"
DEFAULT_IMAGE_PATCH_TOKEN = "<im_patch>"

# What a user of run_llava writes in a query where the image belongs.
IMAGE_PLACEHOLDER = "<image-placeholder>"

# The demo's servers: seconds after which the controller forgets a worker that was not heard of, seconds between a
# worker's signs of life, and the folder of the logs that `llava.utils.build_logger` writes.
CONTROLLER_HEART_BEAT_EXPIRATION = 30
WORKER_HEART_BEAT_INTERVAL = 15
LOGDIR = "."
