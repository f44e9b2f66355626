/** How a command ended. */
export interface CommandOutcome {
  /** Exit code; null when a signal ended it. */
  readonly exitCode: number | null
  /** Signal that ended it; null when it exited. */
  readonly exitSignal: string | null
  /** Standard output. */
  readonly stdout: string
  /** The last part of standard error. */
  readonly stderr: string
}

/**
 * A machine as whoever sets up its hardware sees it: the files of its kernel and system, and commands. Everything that a hardware backend
 * reads or changes beside the network goes through it, so that a faithful fake can take its place.
 *
 * Paths are absolute and as on the machine, `/sys/bus/pci/devices/0000:01:00.0/vendor`. What is refused rejects with the system's error:
 * `error.code` is `ENOENT`, `EBUSY`, `ERANGE`, ….
 *
 * @see {@link errnoOf}
 */
export interface Machine {
  /** The text of a file; of a file of the kernel, at this moment. */
  read(path: string): Promise<string>
  /**
   * Writes to a file that exists, in one write: how the kernel's files are told something. It is done when this resolves, as far as the
   * kernel does it at once; what it refuses rejects with its reason.
   */
  write(path: string, text: string): Promise<void>
  /** Where a symbolic link points, as it is written there. */
  readlink(path: string): Promise<string>
  /** Names in a folder, in no order. */
  list(path: string): Promise<string[]>
  /**
   * Makes or replaces an ordinary file, whole or not at all, and folders that it needs. `mode` is that of the file; by default that of the
   * one that it replaces, 0o644 for a new one.
   */
  place(path: string, text: string, mode?: number): Promise<void>
  /** Removes an ordinary file; that there is none is success. */
  remove(path: string): Promise<void>
  /**
   * Runs a command to its end: `modprobe`, `mount`, `systemctl`, `dmesg`. No shell is involved.
   *
   * @throws the signal's reason when it aborts first; the system's error (`ENOENT`) where there is no such command
   */
  run(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<CommandOutcome>
}

/** The system's reason of an error of a {@link Machine}, `ENOENT` and so on; undefined of any other error. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code)
    ? error.code
    : undefined
}

/** What `read` yields, undefined where the reason is one of `absent`. @throws the error for any other reason */
export async function ifPresent<T>(read: Promise<T>, absent: readonly string[] = ['ENOENT']): Promise<T | undefined> {
  try {
    return await read
  } catch (error) {
    if (absent.includes(errnoOf(error) ?? '')) return undefined
    throw error
  }
}
