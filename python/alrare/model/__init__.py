"""What a potential is: its networks, its files, its calculator, its errors."""
