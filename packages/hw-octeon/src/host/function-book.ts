import { basename } from 'node:path'
import type { FunctionEnd } from '@cni-offload/linux/function'
import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { type Logger, OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'

/** How a function's interface was before anybody had changed it. */
export type Pristine = Pick<FunctionEnd, 'name' | 'mac' | 'mtu'>

interface Book {
  readonly boot: string
  readonly functions: Readonly<Record<string, Pristine>>
}

const book: z.ZodType<Book> = z.object({
  boot: z.string(),
  functions: z.record(z.string(), z.object({ name: z.string().min(1), mac: z.string().min(1), mtu: z.number().int().positive() })),
})

/** With what a {@link FunctionBook} works. */
export interface FunctionBookDeps {
  /** Machine whose file it is. */
  readonly files: Pick<Machine, 'read' | 'place'>
  /** Where it is kept. */
  readonly path: string
  /** Which boot of the machine this is: after another one interfaces are new. */
  readonly boot: string
  /** Log. */
  readonly log: Logger
}

/**
 * How the interfaces of functions were before anybody had changed them, by PCI address, on disk: an interface that comes back from a pod has
 * the pod's name, MAC and MTU, and a note on it may have been changed by the pod. It is of one boot: the next one makes new interfaces,
 * with the MAC addresses that the card gives them then.
 */
export class FunctionBook {
  readonly #deps: FunctionBookDeps
  readonly #functions: Map<string, Pristine>

  private constructor(deps: FunctionBookDeps, functions: Iterable<[string, Pristine]>) {
    this.#deps = deps
    this.#functions = new Map(functions)
  }

  /**
   * Reads what is on disk. A file that cannot be understood is kept under another name, and what it said is lost: notes on the interfaces say
   * it, too.
   *
   * @throws OffloadError IO_FAILURE if it cannot be read
   */
  static async open(deps: FunctionBookDeps): Promise<FunctionBook> {
    const { files, path, boot, log } = deps
    const text = await ifPresent(files.read(path)).catch((error: unknown) => {
      throw OffloadError.from(error, 'IO_FAILURE', `cannot read ${path}`)
    })
    if (text === undefined) return new FunctionBook(deps, [])
    try {
      const read = parseWith(book, JSON.parse(text), basename(path), 'UNDECODABLE')
      return new FunctionBook(deps, read.boot === boot ? Object.entries(read.functions) : [])
    } catch (error) {
      await files.place(`${path}.unreadable`, text)
      log.error({ err: error, path, kept: `${path}.unreadable` }, 'how the functions were is not known any more')
      return new FunctionBook(deps, [])
    }
  }

  /** How a function's interface was; undefined if nobody has seen it yet. */
  get(address: string): Pristine | undefined {
    return this.#functions.get(address)
  }

  /** Notes how interfaces are that nobody has changed yet, all in one write. @throws OffloadError IO_FAILURE; then nothing is noted */
  async note(entries: readonly (readonly [address: string, pristine: Pristine])[]): Promise<void> {
    if (entries.length === 0) return
    const { files, path, boot } = this.#deps
    const functions = new Map([...this.#functions, ...entries])
    try {
      await files.place(path, `${JSON.stringify({ boot, functions: Object.fromEntries(functions) } satisfies Book)}\n`, 0o600)
    } catch (error) {
      throw OffloadError.from(error, 'IO_FAILURE', `cannot write ${path}`)
    }
    for (const [address, pristine] of entries) this.#functions.set(address, pristine)
  }
}
