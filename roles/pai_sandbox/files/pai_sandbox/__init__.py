"""PAI sandbox: a small server that speaks the OpenPAI v1.8.1 REST API and runs each task of a job as a container.

The rules come from microsoft/pai (rest-server, commit a95d9420, MIT licence) and microsoft/openpai-runtime v0.1.12.
"""
