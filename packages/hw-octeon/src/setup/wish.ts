import { posix } from 'node:path'
import type { Machine } from '@cni-offload/linux/machine'
import { OffloadError } from '@cni-offload/sdk'
import { AGENT_CHIPS, type AgentChip, isAgentChip } from '../cfg/chips.ts'
import { formatAgentConfig } from '../cfg/format.ts'
import { generateAgentConfig } from '../cfg/generate.ts'
import { type AgentHeartbeat, LIMITS } from '../cfg/model.ts'
import { agentDevices, agentGeneration, type AgentSdk, outOfTreeLoaded } from '../control-agent/generation.ts'
import { type PortTable, sdpPorts } from '../map/ports.ts'
import type { OcteonInventory } from '../pci/inventory.ts'
import { MANAGEMENT_LINK_LOCAL } from './management-link.ts'
import type { SetupWish } from './plan.ts'

/** What somebody says of a set-up, on a command line or in the options of the DPU half. */
export interface SetupChoice {
  /** Release of the control agent. @defaultValue 'auto', the one that fits the firmware */
  readonly sdk?: AgentSdk | 'auto' | undefined
  /** Addresses with prefix length of this end of the management link; none for no link. @defaultValue those of {@link SetupWish} */
  readonly addresses?: readonly string[] | undefined
  /** Whether this end gets an address of the link only, beside those of `addresses`. @defaultValue false */
  readonly linkLocal?: boolean | undefined
  /** Path of the control agent's configuration; false to leave that alone. @defaultValue {@link agentConfigPath} */
  readonly cfg?: string | false | undefined
  /** The node that the card is in: part of the MAC addresses. */
  readonly node: string
  /** Name of the card. */
  readonly device: string
  /** Heartbeats. @defaultValue 20 of 1000 ms */
  readonly heartbeat?: Partial<AgentHeartbeat> | undefined
  /** The map of ports, where it cannot be known. */
  readonly ports?: PortTable | undefined
  /** The host's physical function, where there are several. */
  readonly pf?: string | undefined
  /** Whether the kernel gets a function of the crypto engine. @defaultValue false */
  readonly crypto?: boolean | undefined
}

/** Folder of the control agent's configuration. */
const CONFIG_FOLDER = '/etc/cni-offload'

/**
 * Where the configuration of a card's control agent lies unless somebody says otherwise: `/etc/cni-offload/cn106xx.cfg`, by chip.
 *
 * @throws OffloadError HARDWARE_FAILURE if the agent brings no configuration for this chip
 */
export function agentConfigPath(inventory: Pick<OcteonInventory, 'chip'>): string {
  return posix.join(CONFIG_FOLDER, AGENT_CHIPS[chipOf(inventory)])
}

/** What a set-up is to reach on this machine, whoever asks for it. @throws OffloadError INVALID_CONFIG, HARDWARE_FAILURE */
export async function setupWish(machine: Machine, inventory: OcteonInventory, choice: SetupChoice): Promise<SetupWish> {
  const { side } = inventory
  const { pf, ports, crypto, sdk, cfg } = choice
  const wish: SetupWish = {
    ...addressesOf(choice, side ?? 'dpu'),
    ...(pf === undefined ? {} : { pf }),
    ...(crypto === undefined ? {} : { crypto }),
  }
  if (side !== 'dpu') return wish
  // That it is not loaded yet is no reason against it: loading it is a part of the set-up.
  const agent = agentGeneration(agentDevices(inventory, (await outOfTreeLoaded(machine)) ? true : undefined), sdk)
  return { ...wish, agent, ...(ports === undefined ? {} : { ports }), ...(cfg === false ? {} : { config: configOf(inventory, choice) }) }
}

function addressesOf({ addresses, linkLocal }: SetupChoice, side: 'host' | 'dpu'): Pick<SetupWish, 'addresses'> {
  if (linkLocal === true) return { addresses: [...(addresses ?? []), MANAGEMENT_LINK_LOCAL[side]] }
  return addresses === undefined ? {} : { addresses }
}

function configOf(inventory: OcteonInventory, choice: SetupChoice): NonNullable<SetupWish['config']> {
  const { cfg, node, device, heartbeat, ports } = choice
  const chip = chipOf(inventory)
  // The agent knows no more than so many, whatever the firmware gives to the host.
  const vfs = Math.min(Math.max(sdpPorts(inventory, ports).vfs.length, 1), LIMITS.vfs)
  const config = generateAgentConfig({ node, device, chip, vfs, ...(heartbeat === undefined ? {} : { heartbeat }) })
  const text = formatAgentConfig(config, [
    `${AGENT_CHIPS[chip]}: the control agent of ${device} in ${node}`,
    'Made by the set-up of cni-offload. The agent reads it only when it starts.',
  ])
  return { path: typeof cfg === 'string' ? cfg : agentConfigPath(inventory), text }
}

function chipOf({ chip }: Pick<OcteonInventory, 'chip'>): AgentChip {
  const part = chip?.part
  if (part !== undefined && isAgentChip(part)) return part
  throw new OffloadError('HARDWARE_FAILURE', `the control agent has no configuration for the chip ${part ?? chip?.id ?? 'of this card'}`, {
    hint: 'Make one yourself and say where it is: option controlAgent.cfg without setup; on the command line --no-cfg leaves it alone.',
  })
}
