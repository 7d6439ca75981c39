"""RMI-NAS: architectures ranked by how fast they take on a teacher's representations (Zheng et al., CVPR 2022)."""
