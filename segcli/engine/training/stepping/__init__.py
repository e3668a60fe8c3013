"""One optimizer step: forward, loss, backward and update, alone or shared with other processes."""
