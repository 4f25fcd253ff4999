"""What happens when something has happened: the functions events wake, and the rules that wake them."""
