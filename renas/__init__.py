"""ReNAS: a predictor that ranks architectures from feature tensors (Xu et al., CVPR 2021)."""
