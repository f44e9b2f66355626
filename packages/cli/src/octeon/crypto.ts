import { cptFunctions, CptEngine, disableCpt, enableCpt, planCpt } from '@cni-offload/hw-octeon'
import type { SecurityAssociation } from '@cni-offload/linux/ipsec'
import type { Machine } from '@cni-offload/linux/machine'
import { type Clock, OffloadError, systemClock } from '@cni-offload/sdk'
import { Command } from 'commander'
import type { OcteonSite } from './site.ts'

/** What can be done with the crypto engine. */
export type CryptoAction = 'show' | 'plan' | 'enable' | 'disable'

/** With what the crypto engine is worked on. */
export interface CryptoDeps {
  /** The DPU. */
  readonly machine: Machine
  /** Time. */
  readonly clock: Clock
  /** The kernel's associations. */
  readonly associations: () => readonly SecurityAssociation[]
}

interface Flags {
  readonly enable?: true
  readonly disable?: true
  readonly dryRun?: true
  readonly root: string
}

/** `offload octeon crypto`: the crypto engine of the card, for the kernel's IPsec. */
export function cryptoCommand({ machine, associations }: OcteonSite): Command {
  return new Command('crypto')
    .description("the card's crypto engine, for IPsec of the DPU's kernel: what it is, and switching it on")
    .option('--enable', 'give the kernel a function of it; associations that are made from then on use it')
    .option('--disable', 'take that function back')
    .option('--dry-run', 'say what --enable would change, and change nothing')
    .option('--root <folder>', 'where the files of the machine are', '/')
    .action(async (flags: Flags) => {
      const deps = { machine: machine(flags.root), clock: systemClock, associations }
      for (const line of await cryptoLines(actionOf(flags), deps, new AbortController().signal)) process.stdout.write(`${line}\n`)
    })
}

/** @throws OffloadError INVALID_CONFIG for flags that contradict each other */
function actionOf({ enable, disable, dryRun }: Flags): CryptoAction {
  if (disable === true && (enable === true || dryRun === true))
    throw new OffloadError('INVALID_CONFIG', '--disable cannot be given together with --enable or --dry-run')
  if (disable === true) return 'disable'
  if (dryRun === true) return 'plan'
  return enable === true ? 'enable' : 'show'
}

/** Does it, and tells in lines what came of it. @throws OffloadError as the functions of the package */
export async function cryptoLines(
  action: CryptoAction,
  { machine, clock, associations }: CryptoDeps,
  signal: AbortSignal,
): Promise<string[]> {
  switch (action) {
    case 'show':
      return await show(machine, associations)
    case 'plan': {
      const plan = await planCpt(machine, signal)
      return plan.kind === 'done' ? ['nothing to change: the kernel has a function'] : [`${plan.file}: ${plan.from} → ${plan.to}`]
    }
    case 'enable': {
      const { pf, vfs, changed, late } = await enableCpt(machine, { signal, clock, associations })
      return [`${pf}: the kernel has ${vfs.join(', ')}${changed ? '' : ', as before'}`, ...lateLines(late)]
    }
    case 'disable': {
      const functions = await cptFunctions(machine)
      for (const { pf } of functions) await disableCpt(machine, pf.address, { signal, clock })
      return functions.map(({ pf }) => `${pf.address}: the kernel has no function of it any more`)
    }
  }
}

/** What there is to say of associations that are older than the engine. */
export function lateLines(late: readonly SecurityAssociation[]): string[] {
  return late.length === 0 ? [] : [`! ${late.length} associations are older and keep the CPU: rotate the keys (offload ipsec rotate)`]
}

async function show(machine: Machine, associations: () => readonly SecurityAssociation[]): Promise<string[]> {
  const engine = await CptEngine.open({ machine, associations })
  if (engine === undefined)
    throw new OffloadError('NOT_FOUND', 'no crypto engine: no PCI function 177d:a0f2 or 177d:a0fd', {
      hint: 'It is on the card: run this on the DPU.',
    })
  const { silicon, functions, offload, because, counters, faults, missing } = await engine.describe()
  return [
    `${silicon}: ${offload}: ${because.join('; ')}`,
    ...functions.map(
      ({ pf, kernelVfs }) =>
        `${pf}: ${kernelVfs.length === 0 ? 'the kernel has no function of it' : `the kernel has ${kernelVfs.join(', ')}`}`,
    ),
    ...(counters === undefined ? [] : [`${counters.requests} requests, of whomever`]),
    ...(faults === '' ? [] : [`! faults: ${faults}`]),
    ...missing.map((what) => `! not known: ${what}`),
  ]
}
