"""From a list of layers to a program: lowering to operations, buffers, the pipeline's timing, the encoding."""
