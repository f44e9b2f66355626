import { Refusal } from '../system-error.ts'
import { attribute, type Entries, type Entry, type FileEntry, folder, readable } from '../tree/entry.ts'
import { parseUnsigned } from './numbers.ts'

/** Memory that the kernel keeps for itself: pages that would need it are not given, without a word. */
const KEPT = 0.1

/** Size of a default huge page in KiB. It follows from the size of the kernel's ordinary pages: 4, 16 or 64 KiB. */
export type HugepageKb = 2_048 | 32_768 | 524_288

const SIZES: Readonly<Record<HugepageKb, readonly number[]>> = {
  2_048: [64, 2_048, 32_768, 1_048_576],
  32_768: [32_768, 524_288, 1_048_576],
  524_288: [2_048, 524_288, 16_777_216],
}

interface Pool {
  total: number
  used: number
}

/** The kernel's pools of huge pages, one per size. */
export class Hugepages {
  /** Size of those that are used unless somebody asks for another, KiB. */
  readonly defaultKb: HugepageKb
  readonly #memoryKb: number
  readonly #pools: ReadonlyMap<number, Pool>

  constructor(defaultKb: HugepageKb, memoryKb: number) {
    this.defaultKb = defaultKb
    this.#memoryKb = memoryKb
    this.#pools = new Map(SIZES[defaultKb].map((kb) => [kb, { total: 0, used: 0 }]))
  }

  /** Takes pages of the default size. @returns whether there were that many */
  take(pages: number): boolean {
    const pool = this.#pool(this.defaultKb)
    if (pool.total - pool.used < pages) return false
    pool.used += pages
    return true
  }

  /** Gives pages of the default size back. */
  give(pages: number): void {
    this.#pool(this.defaultKb).used -= pages
  }

  /** No pages, as at boot. */
  restart(): void {
    for (const pool of this.#pools.values()) Object.assign(pool, { total: 0, used: 0 })
  }

  /** `/proc/sys/vm/nr_hugepages`. */
  sysctl(): FileEntry {
    return this.#count(this.defaultKb)
  }

  /** `/sys/kernel/mm/hugepages`. */
  entries(): Entries {
    return Object.fromEntries([...this.#pools].map(([kb, pool]): [string, Entry] => [`hugepages-${kb}kB`, this.#folder(kb, pool)]))
  }

  /** The lines of `/proc/meminfo`. */
  meminfo(): string {
    const { total, used } = this.#pool(this.defaultKb)
    const taken = this.#takenKb()
    const rows: readonly (readonly [string, number, string])[] = [
      ['MemTotal', this.#memoryKb, ' kB'],
      ['MemFree', this.#memoryKb - taken, ' kB'],
      ['MemAvailable', this.#memoryKb - taken, ' kB'],
      ['SwapTotal', 0, ' kB'],
      ['HugePages_Total', total, ''],
      ['HugePages_Free', total - used, ''],
      ['HugePages_Rsvd', 0, ''],
      ['HugePages_Surp', 0, ''],
      ['Hugepagesize', this.defaultKb, ' kB'],
      ['Hugetlb', taken, ' kB'],
    ]
    return rows.map(([name, value, unit]) => `${`${name}:`.padEnd(16)}${String(value).padStart(8)}${unit}\n`).join('')
  }

  #folder(kb: number, pool: Pool): Entry {
    return folder(() => ({
      nr_hugepages: this.#count(kb),
      free_hugepages: readable(`${pool.total - pool.used}\n`),
      resv_hugepages: readable('0\n'),
      surplus_hugepages: readable('0\n'),
      nr_overcommit_hugepages: readable('0\n'),
    }))
  }

  #count(kb: number): FileEntry {
    return attribute(
      () => `${this.#pool(kb).total}\n`,
      (text) => {
        const pool = this.#pool(kb)
        const others = this.#takenKb() - pool.total * kb
        const most = Math.floor((this.#memoryKb * (1 - KEPT) - others) / kb)
        // Pages in use cannot be taken from whoever has them.
        pool.total = Math.max(pool.used, Math.min(parseUnsigned(text, Number.MAX_SAFE_INTEGER), most))
      },
    )
  }

  #takenKb(): number {
    return [...this.#pools].reduce((sum, [kb, { total }]) => sum + total * kb, 0)
  }

  #pool(kb: number): Pool {
    const pool = this.#pools.get(kb)
    if (pool === undefined) throw new Refusal('EINVAL')
    return pool
  }
}
