"""What the page of one collection shows, a view a file; each is drawn by a function of its own that takes what the collection holds."""
