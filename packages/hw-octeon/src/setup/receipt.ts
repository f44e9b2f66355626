import { OffloadError, parseWith } from '@cni-offload/sdk'
import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { z } from 'zod'
import { type Change, changeSchema, isLasting, merged, subjectOf } from './change.ts'

/** Where it is kept what a set-up has changed. */
export const RECEIPT_FILE = '/var/lib/cni-offload/octeon-setup.json'

/** A change that was begun, and when. */
interface Entry {
  /** The kernel's id of the boot. */
  readonly boot: string
  /** The change. */
  readonly change: Change
}

interface Content {
  readonly version: 1
  /** Whether the folder was made for it. */
  readonly ownFolder: boolean
  readonly entries: readonly Entry[]
}

const schema: z.ZodType<Content> = z.strictObject({
  version: z.literal(1, 'version 1 is expected: another release has written it'),
  ownFolder: z.boolean(),
  entries: z.array(z.strictObject({ boot: z.string(), change: changeSchema })),
})

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/**
 * What set-ups have changed and how it was before, on disk: each change is in it before it is made, so that nothing is lost with a
 * process. Changes that did not outlive the last boot are not in it any more.
 */
export class Receipt {
  readonly #machine: Machine
  readonly #file: string
  readonly #boot: string
  #content: Content

  private constructor(machine: Machine, file: string, boot: string, content: Content) {
    this.#machine = machine
    this.#file = file
    this.#boot = boot
    this.#content = content
  }

  /**
   * Reads it; none is an empty one.
   *
   * @throws OffloadError UNDECODABLE if it cannot be understood, IO_FAILURE if it cannot be read
   */
  static async open(machine: Machine, file: string = RECEIPT_FILE): Promise<Receipt> {
    try {
      const boot = (await machine.read(BOOT_ID)).trim()
      const text = await ifPresent(machine.read(file))
      const ownFolder = (await ifPresent(machine.list(folderOf(file)))) === undefined
      const { entries, ...rest } = text === undefined ? { version: 1 as const, ownFolder, entries: [] } : decode(file, text)
      const valid = entries.filter((entry) => entry.boot === boot || isLasting(entry.change))
      return new Receipt(machine, file, boot, { ...rest, entries: valid })
    } catch (error) {
      throw OffloadError.from(error, 'IO_FAILURE', `receipt ${file}`)
    }
  }

  /** Changes that were begun, in order. */
  get changes(): readonly Change[] {
    return this.#content.entries.map(({ change }) => change)
  }

  /** A change is about to be made. What was before the first one of its subject stays what was before. */
  async begin(change: Change): Promise<void> {
    const subject = subjectOf(change)
    const at = this.#content.entries.findIndex((entry) => subjectOf(entry.change) === subject)
    const earlier = this.#content.entries[at]
    const entry: Entry = { boot: this.#boot, change: earlier === undefined ? change : merged(earlier.change, change) }
    await this.#write(earlier === undefined ? [...this.#content.entries, entry] : this.#content.entries.with(at, entry))
  }

  /** A change is undone. */
  async end(change: Change): Promise<void> {
    const subject = subjectOf(change)
    const left = this.#content.entries.filter((entry) => subjectOf(entry.change) !== subject)
    if (left.length > 0) return await this.#write(left)
    this.#content = { ...this.#content, entries: [] }
    await this.close()
  }

  /** Removes the file if nothing is left in it. */
  async close(): Promise<void> {
    if (this.#content.entries.length > 0) return
    await this.#machine.remove(this.#file)
    const folder = folderOf(this.#file)
    // Only if nothing else has come into it; that it stays harms nobody.
    if (this.#content.ownFolder) await this.#machine.run(['rmdir', folder], AbortSignal.timeout(RMDIR_MS)).catch(() => {})
  }

  async #write(entries: readonly Entry[]): Promise<void> {
    this.#content = { ...this.#content, entries }
    await this.#machine.place(this.#file, `${JSON.stringify(this.#content, null, 2)}\n`, 0o600)
  }
}

/** Longest that the removal of an empty folder may take. */
const RMDIR_MS = 10_000

const folderOf = (file: string): string => file.slice(0, file.lastIndexOf('/'))

function decode(file: string, text: string): Content {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new OffloadError('UNDECODABLE', `receipt ${file} is no JSON`, {
      cause: error,
      hint: 'It says how the machine was before its set-up. Move it away only if that is not to be undone.',
    })
  }
  return parseWith(schema, value, `receipt ${file}`, 'UNDECODABLE')
}
