"""Where networks come from: bundled, torchvision, timm, local modules and saved folders."""
