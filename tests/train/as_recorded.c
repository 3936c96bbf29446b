/* Preloaded, it has MKL multiply as on an AMD processor, on which the official training codes were recorded. */
int mkl_serv_cpuiszen(void) { return 1; }
int mkl_serv_cpu_detect(void) { return 0; }
