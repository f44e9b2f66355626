import { hostname } from 'node:os'
import {
  AGENT_SDKS,
  type AgentSdk,
  applySetup,
  editText,
  enableCpt,
  planSetup,
  readInventory,
  Receipt,
  type SetupChoice,
  type SetupSite,
  setupWish,
  stepOf,
  takeSetupLock,
  undoSetup,
} from '@cni-offload/hw-octeon'
import { OWN_NETNS } from '@cni-offload/linux'
import { type SecurityAssociation, securityAssociations } from '@cni-offload/linux/ipsec'
import { OffloadError, systemClock } from '@cni-offload/sdk'
import { Command, Option } from 'commander'
import { untilInterrupted } from '../commands/interrupt.ts'
import { lateLines } from './crypto.ts'
import type { OcteonSite } from './site.ts'

/** What is to be done with a set-up. */
export interface SetupOptions {
  /** Release of the control agent. */
  readonly sdk: AgentSdk | 'auto'
  /** Addresses of this end of the management link. */
  readonly address?: readonly string[]
  /** Addresses of the link only, instead. */
  readonly linkLocal?: true
  /** False without a management link. */
  readonly link: boolean
  /** Path of the control agent's configuration; false to leave that alone. */
  readonly cfg?: string | boolean
  /** The node. */
  readonly node: string
  /** Name of the card. */
  readonly device: string
  /** The host's physical function. */
  readonly pf?: string
  /** Whether the kernel gets a function of the crypto engine. */
  readonly crypto?: true
  /** Only say it. */
  readonly dryRun?: true
  /** Undo what was done. */
  readonly undo?: true
  /** Where the files of the machine are. */
  readonly root: string
}

/** `offload octeon setup`: sets a DPU or a host up, says what it would change, or undoes it. */
export function setupCommand(site: OcteonSite): Command {
  return new Command('setup')
    .description(
      'set this machine up, DPU or host: modules, huge pages, functions for the control agent, its configuration, management link',
    )
    .option('--dry-run', 'say exactly what would be changed, and change nothing')
    .option('--undo', 'undo what set-ups have changed')
    .addOption(new Option('--sdk <release>', 'release of the control agent').choices(['auto', ...AGENT_SDKS]).default('auto'))
    .option('--address <cidr...>', 'addresses of this end of the management link (192.168.1.1/24 on the DPU, 192.168.1.2/24 on the host)')
    .option('--link-local', 'with an address of the link only: fe80::1/64 on the DPU, fe80::2/64 on the host')
    .option('--no-link', 'leave the management link alone')
    .option('--cfg <file>', 'configuration of the control agent (/etc/cni-offload/cn106xx.cfg, by chip)')
    .option('--no-cfg', 'leave that configuration alone')
    .option('--node <name>', 'the node that the card is in, as Kubernetes names it', hostname())
    .option('--device <name>', 'name of the card, as in the options of the hardware backend', 'octeon0')
    .option('--pf <address>', "the host's physical function, where there are several cards")
    .option(
      '--crypto',
      "also give the DPU's kernel a function of the crypto engine; before associations of IPsec: those keep what they began with",
    )
    .option('--root <folder>', 'where the files of the machine are; commands run in it', '/')
    .action(async (options: SetupOptions) => {
      using interrupted = untilInterrupted()
      await using net = site.net()
      const { signal } = interrupted
      const { associations, lock } = site
      const at = { machine: site.machine(options.root), net, netns: OWN_NETNS, clock: systemClock, signal, associations }
      await runSetup(options, { ...at, ...(lock === undefined ? {} : { lock }) }, (line) => void process.stdout.write(`${line}\n`))
    })
}

/** Where it is done. */
export interface SetupDeps extends SetupSite {
  /** The kernel's associations of IPsec. @defaultValue those of this process's network namespace */
  readonly associations?: () => readonly SecurityAssociation[]
  /** Name of the lock. @defaultValue that of the machine */
  readonly lock?: string
}

/** Does it, line by line. @throws OffloadError of what failed */
export async function runSetup(options: SetupOptions, site: SetupDeps, say: (line: string) => void): Promise<void> {
  // What only says what would be changed disturbs nobody.
  await using _lock = options.dryRun === true ? undefined : await takeSetupLock('offload octeon setup', site.signal, site.lock)
  const receipt = await Receipt.open(site.machine)
  if (options.undo === true) return await (options.dryRun === true ? sayUndo(receipt, say) : undo(receipt, site, say))
  const inventory = await readInventory(site.machine)
  const changes = await planSetup(inventory, await setupWish(site.machine, inventory, choiceOf(options)), site)
  if (changes.length === 0) return say('nothing to change: everything is set up')
  if (options.dryRun === true) {
    for (const change of changes) for (const edit of stepOf(change).edits) say(editText(edit))
    return
  }
  await applySetup(changes, receipt, site, ({ edits }) => edits.forEach((edit) => say(editText(edit))))
  if (changes.some(({ kind }) => kind === 'crypto')) await sayLate(site, say)
}

function choiceOf({ link, address, cfg, sdk, linkLocal, node, device, pf, crypto }: SetupOptions): SetupChoice {
  const addresses = link ? address : []
  return { sdk, addresses, linkLocal: link && linkLocal === true, cfg: cfg === true ? undefined : cfg, node, device, pf, crypto }
}

async function sayLate(
  { machine, clock, signal, associations = securityAssociations }: SetupDeps,
  say: (line: string) => void,
): Promise<void> {
  for (const line of lateLines((await enableCpt(machine, { clock, signal, associations })).late)) say(line)
}

async function sayUndo(receipt: Receipt, say: (line: string) => void): Promise<void> {
  if (receipt.changes.length === 0) return say('nothing to undo')
  for (const change of receipt.changes.toReversed()) for (const edit of stepOf(change).undoEdits) say(editText(edit))
}

async function undo(receipt: Receipt, site: SetupSite, say: (line: string) => void): Promise<void> {
  const steps = await undoSetup(receipt, site)
  if (steps.length === 0) return say('nothing to undo')
  const failed: OffloadError[] = []
  for (const { step, outcome } of steps) {
    if (outcome === 'undone') step.undoEdits.forEach((edit) => say(editText(edit)))
    else if (OffloadError.is(outcome)) failed.push(outcome)
    else if (outcome !== 'nothing') say(`left: ${outcome.left}`)
  }
  const [first] = failed
  if (first === undefined) return
  const remedies = [...new Set(failed.flatMap(({ hint }) => (hint === undefined ? [] : [hint])))].join(' ')
  throw new OffloadError(first.code, `not undone:\n${failed.map(({ message }) => `  ${message}`).join('\n')}`, {
    hint: `${remedies} Then run it again.`,
  })
}
