"""Tests what `--kernel` takes. Run by `python3 -m unittest discover -s tools/kernels`."""

import os
import struct
import tempfile
import unittest

import bzimage
import own


class Own(unittest.TestCase):
    def setUp(self):
        self.place = tempfile.TemporaryDirectory()
        self.addCleanup(self.place.cleanup)
        self.image = self.file("bzImage", "")

    def file(self, name, text):
        path = os.path.join(self.place.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_a_name_and_an_image_are_enough(self):
        self.assertEqual(own.parse(f"4.14={self.image}"), ("4.14", self.image, None))

    def test_a_configuration_follows_a_colon(self):
        config = self.file(".config", "")
        self.assertEqual(own.parse(f"4.14={self.image}:{config}"), ("4.14", self.image, config))

    def test_an_image_whose_name_has_a_colon_is_taken_as_it_is(self):
        image = self.file("a:b", "")
        self.assertEqual(own.parse(f"mine={image}"), ("mine", image, None))

    def test_the_release_is_read_from_the_image(self):
        header = bytearray(0x300)
        header[0x202:0x206] = b"HdrS"
        self.assertIsNone(bzimage.release(header))
        struct.pack_into("<H", header, 0x20E, 0x80)
        header[0x280:0x2A0] = b"4.19.79 (root@vm) #1 SMP Mon 30\0"
        self.assertEqual(bzimage.release(header), "4.19.79")
        self.assertIsNone(bzimage.release(b""))

    def test_other_texts_are_refused(self):
        for text in ("4.14", f"={self.image}", f"../up={self.image}", "4.14=", f"4.14={self.image}:none", "4.14=none"):
            with self.assertRaises(RuntimeError):
                own.parse(text)

    def test_a_configuration_that_cannot_start_is_refused_with_what_it_lacks(self):
        text = "\n".join(f"CONFIG_{option}=y" for option in own.REQUIRED if option != "DEVTMPFS")
        self.assertEqual(own.lacking(text + "\nCONFIG_VIRTIO_BLK=m\n"), ["DEVTMPFS"])
        self.assertEqual(own.lacking(text + "\nCONFIG_DEVTMPFS=m\n"), ["DEVTMPFS"])
        self.assertEqual(own.lacking(text + "\nCONFIG_DEVTMPFS=y\n"), [])
        config = self.file(".config", text)
        with self.assertRaisesRegex(RuntimeError, "CONFIG_DEVTMPFS=y"):
            own.put(f"mine={self.image}:{config}")


if __name__ == "__main__":
    unittest.main()
