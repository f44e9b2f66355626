/** A mounted file system. */
export interface Mount {
  /** Device, `none` where there is none. */
  readonly source: string
  /** Where. */
  readonly target: string
  /** Kind of file system. */
  readonly type: string
  /** Options, as `/proc/mounts` shows them. */
  readonly options: string
}

const AT_BOOT: readonly Mount[] = [
  { source: '/dev/sda2', target: '/', type: 'ext4', options: 'rw,relatime' },
  { source: 'proc', target: '/proc', type: 'proc', options: 'rw,nosuid,nodev,noexec,relatime' },
  { source: 'sysfs', target: '/sys', type: 'sysfs', options: 'rw,nosuid,nodev,noexec,relatime' },
  { source: 'devtmpfs', target: '/dev', type: 'devtmpfs', options: 'rw,nosuid,mode=755' },
  { source: 'tmpfs', target: '/run', type: 'tmpfs', options: 'rw,nosuid,nodev,mode=755' },
  { source: 'debugfs', target: '/sys/kernel/debug', type: 'debugfs', options: 'rw,nosuid,nodev,noexec,relatime' },
]

/** What is mounted. Mounts at the same place lie on top of each other. */
export class MountTable {
  #mounts: readonly Mount[] = AT_BOOT

  /** Whether a file system of this kind is mounted there. */
  has(target: string, type: string): boolean {
    return this.#mounts.findLast((mount) => mount.target === target)?.type === type
  }

  /** Mounts something. */
  add(mount: Mount): void {
    this.#mounts = [...this.#mounts, mount]
  }

  /** Takes away what was mounted there last. @returns whether anything was */
  remove(target: string): boolean {
    const at = this.#mounts.findLastIndex((mount) => mount.target === target)
    if (at >= 0) this.#mounts = this.#mounts.toSpliced(at, 1)
    return at >= 0
  }

  /** Back to what is mounted at boot. */
  restart(): void {
    this.#mounts = AT_BOOT
  }

  /** `/proc/mounts`. */
  text(): string {
    return this.#mounts.map(({ source, target, type, options }) => `${source} ${target} ${type} ${options} 0 0\n`).join('')
  }
}
