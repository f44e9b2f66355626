import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'

type Call = (...args: unknown[]) => number

/** What one process cost. */
export interface ProcessCost {
  /** From the call that starts it to its end, in milliseconds. */
  readonly ms: number
  /** User and system time of it and of every process that it waited for, in milliseconds. */
  readonly cpuMs: number
}

// Larger than glibc's and musl's structures; their content is theirs.
const FILE_ACTIONS_BYTES = 256
const RUSAGE_BYTES = 256

/**
 * Starts processes by posix_spawn and waits for them by wait4.
 *
 * Node's own spawn forks: it copies the page tables of a large process, and the copy's end is charged to the child, which adds
 * milliseconds to whatever is measured. Container runtimes do not do that, and neither does posix_spawn.
 */
export class Spawner {
  readonly #stdin: string
  readonly #stdout: string
  readonly #actions = Buffer.alloc(FILE_ACTIONS_BYTES)
  readonly #spawn: Call
  readonly #wait: Call

  /** @param dir - folder for what goes into and comes out of the processes */
  constructor(dir: string) {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const libc = koffi.load(null)
    this.#spawn = libc.func(
      'int posix_spawn(_Out_ int *pid, const char *path, const uint8_t *actions, void *attr, const char **argv, const char **envp)',
    )
    this.#wait = libc.func('int wait4(int pid, _Out_ int *status, int options, uint8_t *rusage)')
    this.#stdin = join(dir, 'stdin')
    this.#stdout = join(dir, 'stdout')
    libc.func('int posix_spawn_file_actions_init(uint8_t *actions)')(this.#actions)
    const open = libc.func('int posix_spawn_file_actions_addopen(uint8_t *actions, int fd, const char *path, int flags, int mode)')
    closeSync(openSync(this.#stdout, 'w'))
    open(this.#actions, 0, this.#stdin, 0 /* O_RDONLY */, 0)
    open(this.#actions, 1, this.#stdout, 0o1001 /* O_WRONLY | O_TRUNC */, 0)
  }

  /** Runs a program to its end. @throws OffloadError ADAPTER_FAILED with what it printed if it does not exit with 0 */
  run(executable: string, env: Readonly<Record<string, string>>, stdin: string): ProcessCost {
    writeFileSync(this.#stdin, stdin)
    const variables = [...Object.entries(env).map(([name, value]) => `${name}=${value}`), null]
    const [pid, status, rusage] = [[0], [0], Buffer.alloc(RUSAGE_BYTES)]
    const started = performance.now()
    const failed = this.#spawn(pid, executable, this.#actions, null, [executable, null], variables)
    if (failed !== 0) throw new OffloadError('IO_FAILURE', `${executable} cannot be started: errno ${failed}`)
    this.#wait(pid[0], status, 0, rusage)
    const ms = performance.now() - started
    if (status[0] !== 0)
      throw new OffloadError(
        'ADAPTER_FAILED',
        `${executable} ${env['CNI_COMMAND'] ?? ''} ended with status ${status[0]}: ${readFileSync(this.#stdout, 'utf8')}`,
      )
    // struct rusage begins with two struct timeval, user and system time.
    const time = (at: number): number => Number(rusage.readBigInt64LE(at)) * 1000 + Number(rusage.readBigInt64LE(at + 8)) / 1000
    return { ms, cpuMs: time(0) + time(16) }
  }
}
