// This file owns the proof that a volume behaves as a disk: it fills, grows, comes back, and leaves nothing behind.
// It must not fake the kernel: without root and loop devices it is skipped.
package csinode

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdfast.dev/ground/kube/internal/loopdev"
)

const mebibyte = 1 << 20

// volume is one volume with the paths that a kubelet would use for it.
type volume struct {
	t       *testing.T
	driver  *Driver
	handle  string
	kind    string
	image   string
	staging string
	target  string
}

func newVolume(t *testing.T, kind string, size int64) *volume {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("loop devices need root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("there are no loop devices here")
	}
	if _, err := exec.LookPath("mkfs." + kind); err != nil {
		t.Skip("mkfs." + kind + " is not installed")
	}
	dir := t.TempDir()
	driver, err := New(Config{Node: "n1", Dir: filepath.Join(dir, "volumes")})
	if err != nil {
		t.Fatal(err)
	}
	v := &volume{
		t: t, driver: driver, handle: "pvc-1", kind: kind,
		image:   filepath.Join(dir, "volumes", "pvc-1"+ImageSuffix),
		staging: filepath.Join(dir, "staging", "globalmount"),
		target:  filepath.Join(dir, "pod", "mount"),
	}
	v.must(os.MkdirAll(filepath.Dir(v.image), 0o700))
	v.must(os.WriteFile(v.image, nil, 0o600))
	v.must(os.Truncate(v.image, size))
	t.Cleanup(func() {
		_ = unix.Unmount(v.target, unix.MNT_DETACH)
		_ = unix.Unmount(v.staging, unix.MNT_DETACH)
	})
	return v
}

func (v *volume) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *volume) capability() *csi.VolumeCapability {
	return &csi.VolumeCapability{
		AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: v.kind}},
		AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
	}
}

func (v *volume) stage() error {
	_, err := v.driver.NodeStageVolume(context.Background(), &csi.NodeStageVolumeRequest{
		VolumeId: v.handle, StagingTargetPath: v.staging, VolumeCapability: v.capability(),
	})
	return err
}

func (v *volume) publish(readOnly bool) error {
	v.must(os.MkdirAll(filepath.Dir(v.target), 0o700))
	_, err := v.driver.NodePublishVolume(context.Background(), &csi.NodePublishVolumeRequest{
		VolumeId: v.handle, StagingTargetPath: v.staging, TargetPath: v.target,
		VolumeCapability: v.capability(), Readonly: readOnly,
	})
	return err
}

func (v *volume) unpublish() error {
	_, err := v.driver.NodeUnpublishVolume(context.Background(), &csi.NodeUnpublishVolumeRequest{
		VolumeId: v.handle, TargetPath: v.target,
	})
	return err
}

func (v *volume) unstage() error {
	_, err := v.driver.NodeUnstageVolume(context.Background(), &csi.NodeUnstageVolumeRequest{
		VolumeId: v.handle, StagingTargetPath: v.staging,
	})
	return err
}

func (v *volume) expand(size int64) error {
	_, err := v.driver.NodeExpandVolume(context.Background(), &csi.NodeExpandVolumeRequest{
		VolumeId: v.handle, VolumePath: v.target, StagingTargetPath: v.staging,
		CapacityRange: &csi.CapacityRange{RequiredBytes: size},
	})
	return err
}

func (v *volume) bytes() *csi.VolumeUsage {
	v.t.Helper()
	answer, err := v.driver.NodeGetVolumeStats(context.Background(), &csi.NodeGetVolumeStatsRequest{
		VolumeId: v.handle, VolumePath: v.target,
	})
	v.must(err)
	return answer.GetUsage()[0]
}

// grow expands the volume in use, or, for an ext4 on a machine that does not allow that, across a restart of its pod.
func (v *volume) grow(size int64) {
	v.t.Helper()
	err := v.expand(size)
	if v.kind == ext4 && !mayGrowMounted() && err != nil {
		v.wants(codes.FailedPrecondition, err)
		// The volume stays staged, as it does when the next pod comes soon.
		v.must(v.unpublish())
		v.must(v.publish(false))
		err = v.expand(size)
	}
	v.must(err)
}

// fill writes until the disk is full and returns how much went in.
func (v *volume) fill(name string) int64 {
	v.t.Helper()
	file, err := os.Create(filepath.Join(v.target, name))
	v.must(err)
	defer file.Close()
	block, written := make([]byte, mebibyte), int64(0)
	for {
		n, err := file.Write(block)
		written += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			return written
		}
		v.must(err)
	}
}

// detached waits for the kernel to let go of the device.
func (v *volume) detached() {
	v.t.Helper()
	for range 50 {
		output, err := exec.Command("losetup", "-l", "-n", "-O", "BACK-FILE").Output()
		v.must(err)
		if !strings.Contains(string(output), v.image) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	v.t.Errorf("a loop device is still attached to %s", v.image)
}

func (v *volume) wants(code codes.Code, err error) {
	v.t.Helper()
	if status.Code(err) != code {
		v.t.Errorf("got %v, want %v", err, code)
	}
}

func testWholeLife(t *testing.T, kind string, size int64) {
	v := newVolume(t, kind, size)
	for range 2 { // Every call may be repeated.
		v.must(v.stage())
	}
	for range 2 {
		v.must(v.publish(false))
	}
	if total := v.bytes().GetTotal(); total > size || total < size*6/10 {
		t.Errorf("a volume of %d bytes measures %d", size, total)
	}
	v.must(os.WriteFile(filepath.Join(v.target, "kept"), []byte("kept"), 0o600))
	first := v.fill("first")
	if first < size/2 || first > size {
		t.Errorf("%d bytes went into a volume of %d", first, size)
	}
	for range 2 {
		v.grow(2 * size)
	}
	if total := v.bytes().GetTotal(); total < 2*size*7/10 {
		t.Errorf("a volume grown to %d bytes measures %d", 2*size, total)
	}
	if second := v.fill("second"); second < size*7/10 {
		t.Errorf("only %d bytes went in after growing from %d to %d", second, size, 2*size)
	}
	if used := v.bytes().GetUsed(); used < size {
		t.Errorf("a full volume uses %d bytes", used)
	}
	for range 2 {
		v.must(v.unpublish())
	}
	for range 2 {
		v.must(v.unstage())
	}
	v.detached()

	v.must(v.stage())
	v.must(v.publish(true))
	if text, err := os.ReadFile(filepath.Join(v.target, "kept")); err != nil || string(text) != "kept" {
		t.Errorf("what was kept came back as %q, %v", text, err)
	}
	if err := os.WriteFile(filepath.Join(v.target, "more"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing into a readonly mount: %v", err)
	}
	v.wants(codes.AlreadyExists, v.publish(false))
	v.must(v.unpublish())
	v.must(v.unstage())
	v.detached()
}

func TestWholeLifeOfAnExt4Volume(t *testing.T) { testWholeLife(t, "ext4", 64*mebibyte) }

func TestWholeLifeOfAnXFSVolume(t *testing.T) { testWholeLife(t, "xfs", 300*mebibyte) }

func TestAMissingFileIsAnErrorAndNeverAnEmptyVolume(t *testing.T) {
	v := newVolume(t, "ext4", 32*mebibyte)
	v.must(v.stage())
	v.must(v.unstage())
	v.must(os.Remove(v.image))
	v.wants(codes.NotFound, v.stage())
	v.must(v.unstage())
}

func TestAFileWithDataButNoFileSystemIsNotFormatted(t *testing.T) {
	v := newVolume(t, "ext4", 32*mebibyte)
	v.must(v.stage())
	v.must(v.unstage())
	v.detached()
	file, err := os.OpenFile(v.image, os.O_WRONLY, 0)
	v.must(err)
	_, err = file.Write(make([]byte, 64*1024))
	v.must(errors.Join(err, file.Close()))
	v.wants(codes.DataLoss, v.stage())
	v.detached()
}

func TestAFormatThatWasCutShortIsDoneAgain(t *testing.T) {
	v := newVolume(t, "ext4", 32*mebibyte)
	file, err := os.OpenFile(v.image, os.O_WRONLY, 0)
	v.must(err)
	_, err = file.Write([]byte("half a file system"))
	v.must(errors.Join(err, file.Close(), writeMarker(v.image+FormattingSuffix)))
	v.must(v.stage())
	if _, err := os.Stat(v.image + FormattingSuffix); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark of the cut-short format is still there: %v", err)
	}
	v.must(v.unstage())
	v.detached()
}

func TestAnotherFileSystemThanAskedForIsNotMounted(t *testing.T) {
	v := newVolume(t, "ext4", 300*mebibyte)
	v.must(v.stage())
	v.must(v.unstage())
	v.kind = "xfs"
	v.wants(codes.FailedPrecondition, v.stage())
	v.detached()
}

func TestALostMountIsMadeAgain(t *testing.T) {
	v := newVolume(t, "ext4", 32*mebibyte)
	v.must(v.stage())
	v.must(os.WriteFile(filepath.Join(v.staging, "kept"), []byte("kept"), 0o600))
	// What the end of the node's mount namespace does.
	v.must(unix.Unmount(v.staging, unix.MNT_DETACH))
	v.detached()
	v.must(v.stage())
	if _, err := os.Stat(filepath.Join(v.staging, "kept")); err != nil {
		t.Error(err)
	}
	v.must(v.unstage())
}

func TestAGrownFileIsFoundAtTheNextStaging(t *testing.T) {
	v := newVolume(t, "ext4", 32*mebibyte)
	v.must(errors.Join(v.stage(), v.unstage()))
	v.detached()
	v.must(os.Truncate(v.image, 64*mebibyte))
	v.must(errors.Join(v.stage(), v.publish(false)))
	if total := v.bytes().GetTotal(); total < 48*mebibyte {
		t.Errorf("a volume of %d bytes measures %d", 64*mebibyte, total)
	}
	v.must(errors.Join(v.unpublish(), v.unstage()))
	v.detached()
}

func TestADeviceLeftBehindIsUsedAgain(t *testing.T) {
	v := newVolume(t, "ext4", 32*mebibyte)
	held, err := loopdev.Attach(v.image)
	v.must(err)
	v.must(v.stage())
	mounted, err := mountAt(v.staging)
	v.must(err)
	if !mounted.isOn(held) {
		t.Errorf("%s is mounted, not %s", mounted.source, held.Path)
	}
	v.must(v.unstage())
	v.must(held.Close())
	v.detached()
}

func TestWhatCannotBeServedIsRefused(t *testing.T) {
	v := newVolume(t, "ext4", 32*mebibyte)
	v.wants(codes.FailedPrecondition, v.publish(false))
	v.wants(codes.Internal, v.expand(64*mebibyte))
	_, err := v.driver.NodeGetVolumeStats(context.Background(), &csi.NodeGetVolumeStatsRequest{
		VolumeId: v.handle, VolumePath: v.target,
	})
	v.wants(codes.NotFound, err)
	v.kind = "btrfs"
	v.wants(codes.InvalidArgument, v.stage())
	v.kind, v.handle = "ext4", "../pvc-1"
	v.wants(codes.InvalidArgument, v.stage())
	v.handle = "pvc-2"
	v.wants(codes.NotFound, v.stage())

	release, err := v.driver.busy.take("pvc-1")
	v.must(err)
	defer release()
	v.handle = "pvc-1"
	v.wants(codes.Aborted, v.stage())
}
