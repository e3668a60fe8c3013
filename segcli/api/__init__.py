"""Use segcli from Python: the functions and the class that `import segcli` offers, each with the code of its command.

A program's process belongs to the program: nothing here prints, exits, installs a signal handler that was not asked
for, or changes random numbers and threads of its caller.
"""
