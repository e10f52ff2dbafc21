"""From files to batches on the device: fetching and verifying, extra images, augmentation.

Imports: problem, devices.
"""
