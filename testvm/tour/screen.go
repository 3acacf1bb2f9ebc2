package tour

import (
	"bufio"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"

	"hvinstall/testvm"
)

// Screenshot keeps the machine's screen as a PNG.
func Screenshot(vm *testvm.VM, dir, name string) error {
	ppm := filepath.Join(dir, name+".ppm")
	if err := vm.Screendump(ppm); err != nil {
		return err
	}
	defer os.Remove(ppm)
	in, err := os.Open(ppm)
	if err != nil {
		return err
	}
	defer in.Close()
	picture, err := readPPM(in)
	if err != nil {
		return fmt.Errorf("reading the screen: %w", err)
	}
	out, err := os.Create(filepath.Join(dir, name+".png"))
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(out, picture), out.Close())
}

// readPPM reads a binary PPM of 8 bits a colour, which is what QEMU writes.
func readPPM(r io.Reader) (image.Image, error) {
	in := bufio.NewReader(r)
	var width, height, most int
	if _, err := fmt.Fscanf(in, "P6\n%d %d\n%d\n", &width, &height, &most); err != nil {
		return nil, err
	}
	if most != 255 || width <= 0 || height <= 0 || width > 8192 || height > 8192 {
		return nil, fmt.Errorf("a PPM of %d×%d and %d colours is not what QEMU writes", width, height, most)
	}
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	row := make([]byte, 3*width)
	for y := range height {
		if _, err := io.ReadFull(in, row); err != nil {
			return nil, err
		}
		for x := range width {
			picture.SetRGBA(x, y, color.RGBA{row[3*x], row[3*x+1], row[3*x+2], 255})
		}
	}
	return picture, nil
}
