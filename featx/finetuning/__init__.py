"""Transfer learning: freeze, replace the head, unfreeze, fine-tune, pretrain, advise."""
