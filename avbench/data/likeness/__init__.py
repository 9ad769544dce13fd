"""Which clips are still pictures, copies of each other, or cut from one video that is in several splits."""
