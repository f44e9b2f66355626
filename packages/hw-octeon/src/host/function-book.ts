import { basename } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { FunctionEnd } from '@cni-offload/linux/function'
import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import {
  type Logger,
  OffloadError,
  parseWith,
  type VfAdminSetting,
  vfAdminSetting,
  type VfAdminSettings,
  vfAdminSettings,
} from '@cni-offload/sdk'
import { Limiter } from '@cni-offload/sdk/runtime'
import { z } from 'zod'

/** How a function's interface was before anybody had changed it. */
export type Pristine = Pick<FunctionEnd, 'name' | 'mac' | 'mtu'>

interface Book {
  readonly boot: string
  readonly functions: Readonly<Record<string, Pristine>>
  /** What the physical function made of those that it makes something else of now. */
  readonly changed?: Readonly<Record<string, VfAdminSettings>>
  /** What it was seen to be able to make of them. */
  readonly admin?: readonly VfAdminSetting[]
}

const book: z.ZodType<Book> = z.object({
  boot: z.string(),
  functions: z.record(z.string(), z.object({ name: z.string().min(1), mac: z.string().min(1), mtu: z.number().int().positive() })),
  changed: z.record(z.string(), vfAdminSettings).exactOptional(),
  admin: z.array(vfAdminSetting).exactOptional(),
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
 * How functions were before anybody had changed them, by PCI address, on disk: an interface that comes back from a pod has the pod's name, MAC
 * and MTU, and a note on it may have been changed by the pod; and what its physical function made of it is nowhere else. It is of one boot:
 * the next one makes new functions, with the MAC addresses that the card gives them then.
 */
export class FunctionBook {
  readonly #deps: FunctionBookDeps
  readonly #turns = new Limiter(1)
  #book: Book

  private constructor(deps: FunctionBookDeps, content: Book) {
    this.#deps = deps
    this.#book = content
  }

  /**
   * Reads what is on disk. A file that cannot be understood is kept under another name, and what it said is lost: notes on the interfaces say
   * it, too, as far as it is about them.
   *
   * @throws OffloadError IO_FAILURE if it cannot be read
   */
  static async open(deps: FunctionBookDeps): Promise<FunctionBook> {
    const { files, path, boot, log } = deps
    const empty: Book = { boot, functions: {} }
    const text = await ifPresent(files.read(path)).catch((error: unknown) => {
      throw OffloadError.from(error, 'IO_FAILURE', `cannot read ${path}`)
    })
    if (text === undefined) return new FunctionBook(deps, empty)
    try {
      const read = parseWith(book, JSON.parse(text), basename(path), 'UNDECODABLE')
      return new FunctionBook(deps, read.boot === boot ? read : empty)
    } catch (error) {
      await files.place(`${path}.unreadable`, text)
      log.error({ err: error, path, kept: `${path}.unreadable` }, 'how the functions were is not known any more')
      return new FunctionBook(deps, empty)
    }
  }

  /** How a function's interface was; undefined if nobody has seen it yet. */
  get(address: string): Pristine | undefined {
    return this.#book.functions[address]
  }

  /** Notes how interfaces are that nobody has changed yet, all in one write. @throws OffloadError IO_FAILURE; then nothing is noted */
  async note(entries: readonly (readonly [address: string, pristine: Pristine])[]): Promise<void> {
    if (entries.length === 0) return
    await this.#change((now) => ({ ...now, functions: { ...now.functions, ...Object.fromEntries(entries) } }))
  }

  /** What the physical function made of a function that it makes something else of now; undefined if that is as it was. */
  settingsBefore(address: string): VfAdminSettings | undefined {
    return this.#book.changed?.[address]
  }

  /**
   * Notes what the physical function makes of a function, before the first change of that. A later one does not count.
   *
   * @throws OffloadError IO_FAILURE; then nothing is noted, and nothing may be changed
   */
  async willChange(address: string, before: VfAdminSettings): Promise<void> {
    if (this.settingsBefore(address) !== undefined) return
    await this.#change((now) => ({ ...now, changed: { [address]: before, ...now.changed } }))
  }

  /** Notes that the physical function makes of a function what it did before. @throws OffloadError IO_FAILURE */
  async isAsBefore(address: string): Promise<void> {
    await this.#change(({ changed = {}, ...now }) => {
      const { [address]: _was, ...others } = changed
      return { ...now, changed: others }
    })
  }

  /** What the physical function was seen to be able to make of the functions; undefined if nobody could try. */
  get admin(): readonly VfAdminSetting[] | undefined {
    return this.#book.admin
  }

  /** Notes what the physical function was seen to be able to make of the functions. @throws OffloadError IO_FAILURE */
  async noteAdmin(admin: readonly VfAdminSetting[]): Promise<void> {
    if (!isDeepStrictEqual(this.admin, admin)) await this.#change((now) => ({ ...now, admin }))
  }

  /** One after the other: each writes all that the book says. */
  async #change(change: (now: Book) => Book): Promise<void> {
    const { files, path, boot } = this.#deps
    await this.#turns.run(new AbortController().signal, async () => {
      const next: Book = { ...change(this.#book), boot }
      try {
        await files.place(path, `${JSON.stringify(next)}\n`, 0o600)
      } catch (error) {
        throw OffloadError.from(error, 'IO_FAILURE', `cannot write ${path}`)
      }
      this.#book = next
    })
  }
}
