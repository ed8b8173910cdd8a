"""The stream process: listens to exchanges over websockets, proves that they deliver, and polls while they do not."""
