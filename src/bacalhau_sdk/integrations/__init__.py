"""What ties the library to others; each module needs the extra of its name, and uses the public face only."""
