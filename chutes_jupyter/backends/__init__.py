"""How a worker starts a supervisor.

Today there is one way, and it needs no code here: `serve` starts it on the machine that the
transport reaches. Schedulers and rented machines come as modules of this package.
"""
