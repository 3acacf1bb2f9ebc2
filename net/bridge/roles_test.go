//go:build netns

package bridge

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const streamSize = 24 << 20

// content is the same bytes on both ends.
func content() io.Reader {
	return io.LimitReader(rand.New(rand.NewSource(77)), streamSize) // a test pattern
}

// serveRole is the router's HTTP server: /slow sends for about two seconds.
func serveRole(args []string) error {
	http.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(streamSize))
		from := content()
		for chunk := range 64 {
			_ = chunk
			if _, err := io.CopyN(w, from, streamSize/64); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			time.Sleep(40 * time.Millisecond)
		}
	})
	http.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	server := &http.Server{Addr: args[0], ReadHeaderTimeout: 5 * time.Second}
	time.AfterFunc(170*time.Second, func() { os.Exit(1) })
	return server.ListenAndServe()
}

// fetchRole counts and checks the bytes of one connection. It prints a line
// once the first have come.
func fetchRole(args []string) error {
	client := &http.Client{Timeout: 30 * time.Second}
	response, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	sum := sha256.New()
	n, err := io.CopyN(sum, response.Body, 64<<10)
	if err != nil {
		return err
	}
	fmt.Println("started")
	rest, err := io.Copy(sum, response.Body)
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", n+rest, err)
	}
	want := sha256.New()
	_, _ = io.Copy(want, content())
	fmt.Printf("%d bytes, same=%v\n", n+rest, string(want.Sum(nil)) == string(sum.Sum(nil)))
	return nil
}

// echoRole sends UDP packets back.
func echoRole(args []string) error {
	conn, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	time.AfterFunc(60*time.Second, func() { os.Exit(1) })
	buffer := make([]byte, 64)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return err
		}
		_, _ = conn.WriteTo(buffer[:n], from)
	}
}

// streamRole sends a packet each millisecond for some seconds, which the other
// end sends back. It prints the gap: the longest stretch of lost packets, by the
// times when the last one before and the first one after it were sent. A pause
// of this process or of the other is no gap: nothing is lost in it.
func streamRole(args []string) error {
	conn, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	seconds, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	sent := make(chan []time.Time, 1)
	go func() {
		packet := make([]byte, 8)
		var times []time.Time
		for tick := time.NewTicker(time.Millisecond); time.Now().Before(end); <-tick.C {
			binary.BigEndian.PutUint64(packet, uint64(len(times)))
			times = append(times, time.Now())
			_, _ = conn.Write(packet) // one that cannot be sent is lost, too
		}
		sent <- times
	}()
	answered := map[uint64]bool{}
	buffer := make([]byte, 64)
	for {
		_ = conn.SetReadDeadline(end.Add(500 * time.Millisecond))
		n, err := conn.Read(buffer)
		if err != nil {
			if time.Now().Before(end.Add(400 * time.Millisecond)) {
				continue // an ICMP error during the gap
			}
			break
		}
		if n == 8 {
			answered[binary.BigEndian.Uint64(buffer)] = true
		}
		if len(answered) == 200 {
			fmt.Println("started")
		}
	}
	times := <-sent
	var gap time.Duration
	for last, i := 0, 0; i < len(times); i++ {
		if answered[uint64(i)] {
			if i > last+1 {
				gap = max(gap, times[i].Sub(times[last]))
			}
			last = i
		}
	}
	fmt.Printf("gap_us=%d sent=%d lost=%d\n", gap.Microseconds(), len(times), len(times)-len(answered))
	return nil
}

// tagRole sends one frame with an 802.1Q tag; this needs no VLAN device.
func tagRole(args []string) error {
	link, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	to, err := net.ParseMAC(args[1])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	frame := append(append([]byte{}, to...), link.HardwareAddr...)
	frame = append(frame, 0x81, 0x00, 0x00, 42, 0x88, 0xb5) // VLAN 42, local experimental EtherType
	frame = append(frame, "a tagged frame, to be carried as it is, whole"...)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6})
}

// hearRole waits for such a frame and prints its tag.
func hearRole(args []string) error {
	link, err := net.InterfaceByName(args[0])
	if err != nil {
		return err
	}
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, all)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Index}); err != nil {
		return err
	}
	// The kernel takes the tag out of the frame and tells it beside it.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	fmt.Println("started")
	frame, control := make([]byte, 2048), make([]byte, 256)
	for {
		n, cn, _, _, err := unix.Recvmsg(fd, frame, control, 0)
		if err != nil {
			return fmt.Errorf("no tagged frame came: %w", err)
		}
		if n < 14 || frame[12] != 0x88 || frame[13] != 0xb5 {
			continue
		}
		messages, err := unix.ParseSocketControlMessage(control[:cn])
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20 {
				// struct tpacket_auxdata: tp_vlan_tci at byte 16
				fmt.Printf("VLAN %d, %q\n", binary.NativeEndian.Uint16(m.Data[16:18])&0xfff, frame[14:n])
				return nil
			}
		}
	}
}
