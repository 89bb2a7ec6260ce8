"""The network: cells and the layers around them, coders, kernels for CPU and GPU, and the folder that keeps a model."""
