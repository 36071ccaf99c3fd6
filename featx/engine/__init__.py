"""One engine under every interface: from SPECs and images to features."""
