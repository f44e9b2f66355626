import {
  AGENT_CHIPS,
  agentDevices,
  agentGeneration,
  type AgentSdk,
  formatAgentConfig,
  generateAgentConfig,
  isAgentChip,
  MANAGEMENT_LINK_LOCAL,
  outOfTreeLoaded,
  type OcteonInventory,
  sdpPorts,
  type SetupWish,
} from '@cni-offload/hw-octeon'
import type { Machine } from '@cni-offload/linux/machine'
import { OffloadError } from '@cni-offload/sdk'

/** What the command line says of a set-up. */
export interface SetupFlags {
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
}

/** Folder of the control agent's configuration. */
const CONFIG_FOLDER = '/etc/cni-offload'

/** What a set-up is to reach on this machine. @throws OffloadError INVALID_CONFIG, HARDWARE_FAILURE */
export async function setupWish(machine: Machine, inventory: OcteonInventory, flags: SetupFlags): Promise<SetupWish> {
  const { side } = inventory
  const wish: SetupWish = { ...addressesOf(flags, side ?? 'dpu'), ...(flags.pf === undefined ? {} : { pf: flags.pf }) }
  if (side !== 'dpu') return wish
  // That it is not loaded yet is no reason against it: loading it is a part of the set-up.
  const agent = agentGeneration(agentDevices(inventory, (await outOfTreeLoaded(machine)) ? true : undefined), flags.sdk)
  return { ...wish, agent, ...configOf(inventory, flags) }
}

function addressesOf({ address, linkLocal, link }: SetupFlags, side: 'host' | 'dpu'): Pick<SetupWish, 'addresses'> {
  if (!link) return { addresses: [] }
  if (linkLocal === true) return { addresses: [...(address ?? []), MANAGEMENT_LINK_LOCAL[side]] }
  return address === undefined ? {} : { addresses: address }
}

function configOf(inventory: OcteonInventory, { cfg = true, node, device }: SetupFlags): Pick<SetupWish, 'config'> {
  if (cfg === false) return {}
  const chip = inventory.chip?.part
  if (chip === undefined || !isAgentChip(chip)) {
    throw new OffloadError(
      'HARDWARE_FAILURE',
      `the control agent has no configuration for the chip ${chip ?? inventory.chip?.id ?? 'of this card'}`,
      {
        hint: 'Give it one yourself, and leave that out here: --no-cfg.',
      },
    )
  }
  const config = generateAgentConfig({ node, device, chip, vfs: Math.max(sdpPorts(inventory).vfs.length, 1) })
  const text = formatAgentConfig(config, [
    `${AGENT_CHIPS[chip]}: the control agent of ${device} in ${node}`,
    'Made by: offload octeon setup. The agent reads it only when it starts.',
  ])
  return { config: { path: typeof cfg === 'string' ? cfg : `${CONFIG_FOLDER}/${AGENT_CHIPS[chip]}`, text } }
}
