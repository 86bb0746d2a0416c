"""Log-probabilities of first tokens in, the form of the weights that a host computes with out.

forms/         what weights can be rounded to: one file a family of number formats
packs          how each form moves the log-probabilities of a model on some prompts: a sealed file
pack_making    a local reference and prompts in, such a file out
displacement   what responses give of first tokens and a pack in, how far and which way a host is moved
prompt_rows    numbers in rows, several of one prompt, in, sums by prompt and shuffles of prompts out
naming         that in, the form it is out, or that none of them is it
logit_grid     log-probabilities in, the number format of the logits they were made from out
hosts          a run folder in, a conclusion for each host out
asking         a configuration in, a run folder with short requests out
"""
