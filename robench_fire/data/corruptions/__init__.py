"""Common corruptions (Hendrycks and Dietterich 2019): files in the official layout, and what is made of any images."""
