"""Learned policies: training, evaluation, published weights. The top of the stack: nothing below imports it."""
