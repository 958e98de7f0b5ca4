/* The whole user space of the test guest: it runs as /init of the initramfs (built static by GuestImage.cs) and speaks on the serial console.

   For every disk /dev/vda, /dev/vdb, …: an ext4 file system with a file "records". Record n is one line on every disk,
       n <microseconds of the guest's clock> <payload: 16 to 1500 hex digits> <CRC-32 of all before it, 8 hex digits>\n
   appended and fsynced on one disk after the other, in their order, and only then acknowledged with "ACK n". These lines are the ledger outside SiteRecovery.

   Says    READY k [k …]   the disks are mounted (their journals replayed), every record in them is right, and they hold 1..k
           ACK n           record n is on all disks
           BAD …           a record is damaged or out of order
           SEED <line>     each line of network-config on a disk that is an ISO 9660 file system, which holds no records
           FAILED …        a system call failed: an I/O error, for one
   Reads no input: whoever has enough of it kills QEMU. guest.noise=on on the kernel's command line adds writes that are no records. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DISKS_MAX = 4, PAYLOAD_MIN = 16, PAYLOAD_MAX = 1500, LINE_MAX_BYTES = PAYLOAD_MAX + 64, NOISE_BYTES = 4 << 20 };

/* MODULES comes from GuestImage.cs, in the order in which they depend on each other. */
static const char *const modules[] = {MODULES};

static void power_off(void) {
    sync();
    reboot(RB_POWER_OFF);
    for (;;) pause();
}

static void fail(const char *what) {
    printf("FAILED %s: %s\n", what, strerror(errno));
    power_off();
}

static uint32_t crc32(const char *bytes, size_t count) {
    uint32_t crc = ~0u;
    while (count--) {
        crc ^= (unsigned char)*bytes++;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

static uint64_t microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t random_state;
static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static size_t compose(char *line, long number) {
    size_t at = sprintf(line, "%ld %llu ", number, (unsigned long long)microseconds());
    size_t payload = PAYLOAD_MIN + next_random() % (PAYLOAD_MAX - PAYLOAD_MIN + 1);
    while (payload--) line[at++] = "0123456789abcdef"[next_random() >> 40 & 15];
    return at + sprintf(line + at, " %08x\n", crc32(line, at));
}

/* The number of records, all of them checked. A crash may leave half of a record behind that nobody was told about: it is cut off. */
static long count_records(const char *path) {
    FILE *file = fopen(path, "r+e");
    if (!file) {
        if (errno == ENOENT) return 0;
        fail(path);
    }
    char line[LINE_MAX_BYTES + 2];
    long number = 0, whole = 0;
    while (fgets(line, sizeof line, file)) {
        size_t length = strlen(line);
        if (line[length - 1] != '\n' && feof(file)) {
            if (ftruncate(fileno(file), whole) < 0) fail(path);
            break;
        }
        if (length < 10 || strtol(line, NULL, 10) != number + 1 || strtoul(line + length - 9, NULL, 16) != crc32(line, length - 10)) {
            printf("BAD %s after record %ld: %s\n", path, number, line);
            power_off();
        }
        number++;
        whole += length;
    }
    if (ferror(file)) fail(path);
    fclose(file);
    return number;
}

/* Writes that nobody waits for, so that the records are not all that is in flight. */
static void make_noise(const char *path) {
    static char block[64 << 10];
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) fail(path);
    for (;;) {
        for (size_t at = 0; at < sizeof block; at += 8) *(uint64_t *)(block + at) = next_random();
        if (pwrite(file, block, 512 + next_random() % (sizeof block - 512), next_random() % (NOISE_BYTES - sizeof block)) < 0) fail(path);
        usleep(5000);
        if (next_random() % 32 == 0) sync();
    }
}

static void append_for_ever(int disks, const long *held) {
    int files[DISKS_MAX];
    char path[32], line[LINE_MAX_BYTES];
    for (int disk = 0; disk < disks; disk++) {
        sprintf(path, "/d%d/records", disk);
        files[disk] = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (files[disk] < 0) fail(path);
        sprintf(path, "/d%d", disk);
        int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0 || fsync(folder) < 0) fail(path);
        close(folder);
    }
    for (long number = held[disks - 1] + 1;; number++) {
        size_t length = compose(line, number);
        for (int disk = 0; disk < disks; disk++) {
            if (number <= held[disk]) continue; /* the crash was between two disks */
            if (write(files[disk], line, length) != (ssize_t)length) fail("write of a record");
            if (fsync(files[disk]) < 0) fail("fsync of a record");
        }
        printf("ACK %ld\n", number);
    }
}

static int is_seed(const char *device) {
    char id[5] = "";
    int file = open(device, O_RDONLY | O_CLOEXEC);
    if (file < 0) fail(device);
    int read = pread(file, id, sizeof id, 16 * 2048 + 1) == sizeof id;
    close(file);
    return read && memcmp(id, "CD001", sizeof id) == 0;
}

/* What cloud-init would read of it: by Rock Ridge alone, so that Joliet does not hide what is wrong with it. */
static void say_seed(const char *device) {
    char line[1024];
    mkdir("/seed", 0700);
    if (mount(device, "/seed", "iso9660", MS_RDONLY, "nojoliet") < 0) fail(device);
    FILE *file = fopen("/seed/network-config", "re");
    if (!file) fail("/seed/network-config");
    while (fgets(line, sizeof line, file)) printf("SEED %s", line);
    fclose(file);
}

static int mount_disks(void) {
    int disks = 0;
    for (; disks < DISKS_MAX; disks++) {
        char device[16], folder[16];
        sprintf(device, "/dev/vd%c", 'a' + disks);
        sprintf(folder, "/d%d", disks);
        if (access(device, F_OK) < 0) break;
        if (is_seed(device)) { /* the last one */
            say_seed(device);
            break;
        }
        mkdir(folder, 0700);
        if (mount(device, folder, "ext4", MS_NOATIME, "errors=remount-ro") < 0) fail(device);
    }
    return disks;
}

static int asked_for(const char *word) {
    char line[1024];
    int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, line, sizeof line - 1);
    if (length < 0) fail("/proc/cmdline");
    line[length] = 0;
    close(file);
    return strstr(line, word) != NULL;
}

static void load_modules(void) {
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        char path[64];
        sprintf(path, "/modules/%s.ko", modules[i]);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || syscall(SYS_finit_module, file, "", 0) < 0) fail(path);
        close(file);
    }
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    mkdir("/dev", 0700);
    mkdir("/proc", 0700);
    mount("dev", "/dev", "devtmpfs", 0, NULL); /* the kernel may have done it */
    if (mount("proc", "/proc", "proc", 0, NULL) < 0) fail("/proc");
    load_modules();
    random_state = microseconds() | 1;
    int disks = mount_disks();
    if (disks == 0) fail("/dev/vda");
    long held[DISKS_MAX];
    for (int disk = 0; disk < disks; disk++) {
        char path[32];
        sprintf(path, "/d%d/records", disk);
        held[disk] = count_records(path);
    }
    printf("READY");
    for (int disk = 0; disk < disks; disk++) printf(" %ld", held[disk]);
    printf("\n");
    if (asked_for("guest.noise=on") && fork() == 0) make_noise("/d0/noise");
    append_for_ever(disks, held);
}
