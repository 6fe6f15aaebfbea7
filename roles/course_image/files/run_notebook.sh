folder="$(mktemp -d)" && cd "$folder"
printf '%s' '{"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}, "cells": [{"id": "a", "cell_type": "code", "metadata": {}, "execution_count": null, "outputs": [], "source": ["print(\"the kernel says\", 6 * 7)"]}]}' > smoke.ipynb
jupyter-nbconvert --to notebook --execute --stdout smoke.ipynb 2> error || { tail -n 3 error; exit 1; }
cd / && rm -rf "$folder"
