"""What trainers share: settings, networks, replay memory, checkpoints, reports and the run around the updates.

The algorithm itself is in ``examples/maddpg.py``. Nothing here is imported by ``import irs_marl_env``: the modules need
the extra ``train`` (PyTorch, tyro, tqdm, TensorBoard, matplotlib, safetensors).
"""
