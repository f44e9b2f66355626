/** What the virtual machine's first process has to know. */
export interface InitOptions {
  /** Files in `/modules` in the order to load them. */
  readonly modules: readonly string[]
  /** Folder of the host that the machine can write to. */
  readonly share: string
  /** Folder in there of this run, with the script `task`. */
  readonly run: string
  /** After how many seconds the machine gives up. */
  readonly seconds: number
}

/** Tags of what the host gives the machine. */
export const TAGS = { root: 'host', share: 'share' } as const

/** A word of a shell, whatever is in it. */
export const quoted = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`

/**
 * The first process of the virtual machine, a script of busybox: it loads modules, mounts the host's files with a layer for changes above them,
 * runs the task there, and switches the machine off, whatever happens. When it takes too long it tells first where
 * the task is stuck in the kernel.
 */
export function initScript({ modules, share, run, seconds }: InitOptions): string {
  const nineP = 'trans=virtio,version=9p2000.L,msize=262144'
  return `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
off() { sync; poweroff -f; }
die() { echo "init: $*"; off; }
mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t devtmpfs dev /dev || die "no file systems of the kernel"
for module in ${modules.map(quoted).join(' ')}; do
  insmod "/modules/$module" || echo "init: $module could not be loaded"
done
mount -t 9p -o ${nineP},ro,cache=loose ${TAGS.root} /host || die "the host's files cannot be mounted"
mount -t tmpfs changes /changes && mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work new /new || die "no layer for changes"
for folder in proc sys dev; do mount --bind "/$folder" "/new/$folder"; done
mount -t tmpfs run /new/run && mkdir /new/run/netns
mount -t 9p -o ${nineP},cache=none ${TAGS.share} ${quoted(`/new${share}`)} || die "the shared folder cannot be mounted"
(
  sleep ${seconds}
  echo "init: not done after ${seconds} seconds"
  for task in $(pidof node); do
    for stack in /proc/$task/task/*/stack; do echo "$stack"; cat "$stack"; done
  done
  echo w >/proc/sysrq-trigger
  dmesg | tail -n 100
  off
) &
chroot /new /bin/sh ${quoted(`${run}/task`)}
dmesg >${quoted(`/new${run}/dmesg.txt`)}
off
`
}
