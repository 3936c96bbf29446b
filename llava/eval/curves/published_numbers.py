"""Published scores of LLaVA-1.5-7B with fewer tokens, as papers print them. Nothing here was measured by this project.

There are two families of tables, which must not be mixed: one counts MME's perception and cognition together, the other
perception only, and rows are copied within a family from paper to paper (FastV at 192 tokens on POPE is 64.8 in one
family's tables and 75.8 where RESTORE reran its code). A budget is what a table calls it, not what computes: see
`python -m llava.eval.budgets`.
"""

from dataclasses import dataclass

Row = tuple[float | None, ...]


@dataclass(frozen=True)
class Family:
    """Tables that were made alike.

    Attributes:
        title: how they differ from the others.
        columns: the benchmarks.
        rows: by the name a paper gives to a method and by the budget a table names; None: not printed.
    """

    title: str
    columns: tuple[str, ...]
    rows: dict[str, dict[int, Row]]


def _at(budgets: tuple[int, ...], *rows: Row) -> dict[int, Row]:
    return dict(zip(budgets, rows))


_A, _B = (192, 128, 64), (128, 64, 32)

FAMILIES = (
    Family(
        "family A: MME is perception + cognition; the average is of nine benchmarks, in % of all tokens",
        ("GQA", "MME", "POPE", "average %"),
        {
            "FastV": _at(_A, (52.7, 1612, 64.8, 89.5), (49.6, 1490, 59.6, 83.8), (46.1, 1256, 48.0, 74.0)),
            "PruMerge": _at(_A, (54.3, 1632, 71.3, 90.3), (53.3, 1554, 67.2, 88.1), (51.9, 1549, 65.3, 86.3)),
            "PDrop": _at(_A, (57.1, 1766, 82.3, 96.2), (56.0, 1644, 82.3, 94.2), (41.9, 1092, 55.9, 72.5)),
            "SparseVLM": _at(_A, (57.6, 1721, 83.6, 95.4), (56.0, 1696, 80.5, 92.4), (52.7, 1505, 75.1, 85.4)),
            "VisionZip": _at(_A, (59.3, 1783, 85.3, 98.0), (57.6, 1763, 83.2, 96.8), (55.1, 1690, 77.0, 93.2)),
            "DART": _at(_A, (58.9, 1856, 82.8, 98.1), (57.9, 1845, 80.1, 96.8), (55.9, 1765, 73.9, 92.9)),
            "HoloV": _at(_A, (59.0, 1820, 85.6, 98.9), (57.7, 1802, 84.0, 97.4), (55.3, 1715, 80.3, 94.7)),
            "DivPrune (as MMTok ran it)": _at(
                _A, (60.0, 1762, 87.0, 98.0), (59.3, 1718, 86.7, 96.9), (57.8, 1674, 85.6, 94.8)
            ),
            "MMTok": _at(_A, (60.1, 1774, 86.4, 98.7), (59.3, 1779, 86.3, 97.8), (58.3, 1715, 85.8, 96.6)),
            "ApET": _at(_A, (60.2, 1808, 86.3, 97.8), (58.9, 1801, 86.1, 96.7), (56.9, 1714, 84.4, 94.5)),
        },
    ),
    Family(
        "family B: MME is perception only",
        ("GQA", "POPE", "MME"),
        {
            "FastV": _at(_B, (55.3, 70.0, 1344), (48.0, 37.2, 992)),
            "PDrop": _at(_B, (56.8, 77.9, 1422), (49.2, 40.1, 1004)),
            "SparseVLM": _at(_B, (57.0, 83.3, 1408), (51.5, 70.2, 1193)),
            "PruMerge+": _at(_B, (58.0, 83.2, 1412), (55.1, 76.3, 1311), (51.3, 68.9, None)),
            "TRIM": _at(_B, (58.7, 85.5, 1419), (56.8, 85.3, 1356), (53.7, 84.2, None)),
            "VisionZip": _at(_B, (57.9, 84.8, 1424), (56.0, 77.9, 1362), (52.2, 70.6, None)),
            "DART": _at(_B, (58.3, 81.2, 1415), (55.2, 74.3, 1371), (52.6, 71.1, None)),
            "DivPrune": _at(_B, (59.2, 86.8, 1405), (57.5, 85.5, 1356), (54.9, 81.5, None)),
            "HiPrune": _at(_B, (57.3, 82.8, 1364), (53.6, 73.0, 1236)),
            "SCOPE": _at(_B, (59.4, 85.9, 1441), (58.3, 84.1, 1400), (56.2, 80.2, None)),
            "CDPruner": _at(_B, (59.3, 87.3, 1431), (58.6, 87.0, 1399), (57.0, 87.1, None)),
        },
    ),
    Family(
        "RESTORE's rerun of the released codes",
        ("POPE", "average %"),
        {
            "FastV": _at(_A, (75.8, 96.0), (68.3, 91.8), (36.1, 75.2)),
            "PDrop": _at(_A, (84.0, None), (67.8, None), (55.5, None)),
            "SparseVLM": _at(_A, (85.4, None), (85.0, None), (77.5, None)),
            "ToMe": _at(_A, (86.9, None), (86.5, None), (84.3, None)),
            "VisionZip": _at(_A, (85.2, None), (83.2, None), (78.2, None)),
            "DivPrune": _at(_A, (86.5, None), (86.5, None), (85.3, None)),
            "VisPruner": _at(_A, (86.0, None), (84.5, None), (80.5, None)),
            "HoloV": _at(_A, (85.0, None), (82.2, None), (76.8, None)),
        },
    ),
)
SOURCE = "LLaVA-1.5-7B as published in methods' papers, where rows are copied from paper to paper; not measured here"
