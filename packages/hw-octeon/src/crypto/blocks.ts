import { errnoOf, ifPresent, type Machine } from '@cni-offload/linux/machine'
import { OffloadError } from '@cni-offload/sdk'
import { type EngineStatus, parseEngineStatus } from './engine-status.ts'
import { type FaultRegister, parseFaultRegisters } from './fault-registers.ts'
import { type CptCounters, parseCptCounters } from './performance-counters.ts'

/** Kinds of engines: asymmetric, symmetric, and the ones for IPsec. */
export type EngineKind = 'ae' | 'se' | 'ie'

/** What the kernel's files tell of a CPT block. A part with two has all of it twice. */
export interface CptBlock {
  /** Folder of its files. */
  readonly folder: string
  /** What it has counted. */
  readonly counters: CptCounters
  /** Registers in which it shows faults; undefined if this kernel does not tell them. */
  readonly faults: readonly FaultRegister[] | undefined
  /** Its engines by kind, as far as this kernel tells them. */
  readonly engines: Readonly<Partial<Record<EngineKind, EngineStatus>>>
}

const DEBUGFS = '/sys/kernel/debug'
/** Folders of the admin function's driver, CN10K and CN9K; the second block of a part has a folder of its own. */
const ROOTS: readonly string[] = [`${DEBUGFS}/cn10k`, `${DEBUGFS}/octeontx2`]
const BLOCKS: readonly string[] = ['cpt', 'cpt1']
const KINDS: readonly EngineKind[] = ['ae', 'se', 'ie']

/**
 * Reads all CPT blocks that the admin function's driver tells of.
 *
 * @throws OffloadError NOT_READY (debugfs is not mounted, or the driver tells of none), PERMISSION_DENIED, UNDECODABLE, IO_FAILURE
 */
export async function readCptBlocks(machine: Machine): Promise<readonly CptBlock[]> {
  const found: CptBlock[] = []
  for (const root of ROOTS) {
    const names = await listed(machine, root)
    for (const block of BLOCKS.filter((name) => names.includes(name))) found.push(await readBlock(machine, `${root}/${block}`))
  }
  if (found.length > 0) return found
  const mounted = (await listed(machine, DEBUGFS)).length > 0
  throw new OffloadError(
    'NOT_READY',
    mounted ? `no ${BLOCKS[0]} in ${ROOTS.join(' or ')}: the driver of the admin function tells of no CPT` : `nothing in ${DEBUGFS}`,
    {
      hint: mounted
        ? 'Is rvu_af bound to the admin function (177d:a065), and does the kernel have CONFIG_DEBUG_FS?'
        : `Mount it: mount -t debugfs none ${DEBUGFS}; in a container, give it the machine's.`,
    },
  )
}

async function readBlock(machine: Machine, folder: string): Promise<CptBlock> {
  const names = await listed(machine, folder)
  const parsed = async <T>(name: string, parse: (text: string, path: string) => T): Promise<T | undefined> => {
    const path = `${folder}/${name}`
    if (!names.includes(name)) return undefined
    return parse(await machine.read(path).catch((error: unknown) => Promise.reject(unreadable(error, path))), path)
  }
  const counters = await parsed('cpt_pc', parseCptCounters)
  if (counters === undefined)
    throw new OffloadError('NOT_READY', `${folder}/cpt_pc does not exist`, { hint: 'The driver rvu_af of this kernel is too old.' })
  const engines: Partial<Record<EngineKind, EngineStatus>> = {}
  for (const kind of KINDS) {
    const status = await parsed(`cpt_${kind}_sts`, parseEngineStatus)
    if (status !== undefined) engines[kind] = status
  }
  return { folder, counters, faults: await parsed('cpt_err_info', parseFaultRegisters), engines }
}

async function listed(machine: Machine, folder: string): Promise<readonly string[]> {
  const names = await ifPresent(machine.list(folder)).catch((error: unknown) => Promise.reject(unreadable(error, folder)))
  return names ?? []
}

function unreadable(error: unknown, path: string): OffloadError {
  const denied = ['EACCES', 'EPERM'].includes(errnoOf(error) ?? '')
  if (!denied) return OffloadError.from(error, 'IO_FAILURE', path)
  return new OffloadError('PERMISSION_DENIED', `${path}: ${errnoOf(error)}`, {
    cause: error,
    hint: 'Only root may read it, and no one at all where the kernel is locked down (/sys/kernel/security/lockdown).',
  })
}

/** What all blocks have counted together. The clock is that of the first: they run side by side. */
export function sumOfCounters(blocks: readonly Pick<CptBlock, 'counters'>[]): CptCounters {
  const sum = (name: keyof CptCounters): bigint => blocks.reduce((total, { counters }) => total + counters[name], 0n)
  return {
    requests: sum('requests'),
    requestLatency: sum('requestLatency'),
    reads: sum('reads'),
    readLatency: sum('readLatency'),
    microcodeReads: sum('microcodeReads'),
    activeCycles: sum('activeCycles'),
    clock: blocks[0]?.counters.clock ?? 0n,
  }
}
