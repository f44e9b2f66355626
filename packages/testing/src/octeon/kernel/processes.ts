import { type Awaitable, type Entries, type Entry, folder, link, readable } from '../tree/entry.ts'

/** Length to which the kernel cuts the name of a process. */
const COMM_LIMIT = 15

/** A process that the machine shows. */
export interface FakeProcess {
  /** Its id; that of a real process, if there is one. */
  readonly pid: number
  /** Program and arguments. */
  readonly argv: readonly string[]
  /** When it was started, in clock ticks since boot. */
  readonly startTicks: number
  /** How often it has gone to sleep, by itself. @defaultValue a thousand times a second, as a control agent does */
  readonly turns?: () => Awaitable<number>
  /** Files that it has open beside its standard streams. */
  readonly files: () => readonly string[]
  /** Does what a signal does; undefined if nobody can send it one. */
  readonly kill?: (signal: NodeJS.Signals) => void
}

/** The processes that a fake machine shows in `/proc`. */
export class ProcessTable {
  readonly #processes = new Map<number, FakeProcess>()

  /** A process has started. @returns its end */
  add(process: FakeProcess): Disposable {
    this.#processes.set(process.pid, process)
    return {
      [Symbol.dispose]: () => {
        if (this.#processes.get(process.pid) === process) this.#processes.delete(process.pid)
      },
    }
  }

  /** A process by its id. */
  get(pid: number): FakeProcess | undefined {
    return this.#processes.get(pid)
  }

  /** Folders of `/proc`. */
  entries(): Entries {
    return Object.fromEntries(
      [...this.#processes.values()].map((process): [string, Entry] => [String(process.pid), processFolder(process)]),
    )
  }
}

function processFolder({ pid, argv, startTicks, files, turns = () => Math.floor(performance.now()) }: FakeProcess): Entry {
  const comm = (argv[0]?.split('/').at(-1) ?? '').slice(0, COMM_LIMIT)
  const zeros = (count: number): string => Array.from({ length: count }, () => '0').join(' ')
  return folder(() => ({
    comm: readable(`${comm}\n`),
    cmdline: readable(argv.map((word) => `${word}\0`).join('')),
    // The start time is the 22nd field.
    stat: readable(`${pid} (${comm}) S 1 ${pid} ${pid} ${zeros(15)} ${startTicks} ${zeros(30)}\n`),
    status: readable(async () =>
      [
        `Name:\t${comm}\nState:\tS (sleeping)\nTgid:\t${pid}\nPid:\t${pid}\nPPid:\t1\nUid:\t0\t0\t0\t0\n`,
        `voluntary_ctxt_switches:\t${await turns()}\nnonvoluntary_ctxt_switches:\t0\n`,
      ].join(''),
    ),
    fd: folder(() => Object.fromEntries(['/dev/null', '/dev/null', '/dev/null', ...files()].map((file, fd) => [String(fd), link(file)]))),
  }))
}
