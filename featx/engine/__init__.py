"""From images and SPECs to features: what every function and command has in common."""
