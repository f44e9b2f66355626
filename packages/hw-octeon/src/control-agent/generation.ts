import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { comparePciAddresses } from '@cni-offload/linux/pci'
import { OffloadError } from '@cni-offload/sdk'
import { functionsOf, type OcteonFunctions } from '../pci/functions.ts'

/** Releases of the control agent that differ in what they are started with, by the SDK that brought each. */
export const AGENT_SDKS = ['12.24.11', '12.25.01', '25.04', '12.25.03'] as const

/** A release of the control agent. */
export type AgentSdk = (typeof AGENT_SDKS)[number]

/** The card's functions that a control agent works with, as PCI addresses with domain. */
export interface AgentDevices {
  /** PCI links, `177d:a06c`. */
  readonly pem: readonly string[]
  /** DMA engines, `177d:a080`. */
  readonly dpi: readonly string[]
  /** Packet interfaces of their own for the agent, `177d:a0ef`; firmware before SDK 12.25.03 has none. */
  readonly sdpRvu: readonly string[]
  /** Whether the module `pcie_marvell_cnxk_ep` is loaded, by which the oldest agents reach the link. */
  readonly outOfTreeModule?: boolean
}

/** The functions for a control agent among those of a card. */
export function agentDevices(inventory: Pick<OcteonFunctions, 'functions'>, outOfTreeModule?: boolean): AgentDevices {
  const of = (device: string): string[] => functionsOf(inventory, device).map(({ address }) => address)
  const devices = { pem: of('a06c'), dpi: of('a080'), sdpRvu: of('a0ef') }
  return outOfTreeModule === undefined ? devices : { ...devices, outOfTreeModule }
}

/** Whether the module of the oldest agents is loaded. */
export async function outOfTreeLoaded(machine: Machine): Promise<boolean> {
  return (await ifPresent(machine.list(`/sys/module/${OUT_OF_TREE_MODULE}`))) !== undefined
}

/** How a release of the control agent is started, and what has to be there before. */
export interface AgentGeneration {
  /** The release. */
  readonly sdk: AgentSdk
  /** Options of its library, after `--`; none before there were any. */
  readonly options: readonly string[]
  /** Functions that have to be bound to vfio-pci. */
  readonly vfio: readonly string[]
  /** Whether its mailbox needs a huge page. */
  readonly hugepages: boolean
  /** Module that has to be loaded. */
  readonly module: string
}

/** Module of the oldest agents. */
export const OUT_OF_TREE_MODULE = 'pcie_marvell_cnxk_ep'

/**
 * Finds out which release of the control agent fits the card's firmware, or whether one that is configured does.
 *
 * @param wanted - a release, or `auto`: two packet interfaces for the agent mean SDK 12.25.03, none 12.25.01
 * @throws OffloadError INVALID_CONFIG when a configured release lacks something; HARDWARE_FAILURE when none fits what is there
 */
export function agentGeneration(devices: AgentDevices, wanted: AgentSdk | 'auto' = 'auto'): AgentGeneration {
  const sdk = wanted === 'auto' ? detected(devices) : wanted
  const need = needs(wanted === 'auto' ? 'HARDWARE_FAILURE' : 'INVALID_CONFIG', sdk)
  switch (sdk) {
    case '12.24.11':
      if (devices.outOfTreeModule === false)
        throw new OffloadError(
          need.code,
          `the control agent of SDK ${sdk} reaches the link by the module ${OUT_OF_TREE_MODULE}, which is not loaded`,
          {
            hint: `modprobe ${OUT_OF_TREE_MODULE}, or configure a later sdk`,
          },
        )
      return { sdk, options: [], vfio: [], hugepages: true, module: OUT_OF_TREE_MODULE }
    case '12.25.01': {
      const [pem, dpi] = [need.only('pem', devices.pem), need.first('dpi', devices.dpi)]
      return { sdk, options: ['--dpi_dev', dpi, '--pem_dev', pem], vfio: [dpi, pem], hugepages: true, module: 'vfio-pci' }
    }
    case '25.04': {
      const [pem, [, second]] = [need.only('pem', devices.pem), need.pair('sdpRvu', devices.sdpRvu)]
      return { sdk, options: ['--sdp_rvu_pf', second, '--pem_dev', pem], vfio: [second, pem], hugepages: true, module: 'vfio-pci' }
    }
    case '12.25.03': {
      const [pem, pair] = [need.only('pem', devices.pem), need.pair('sdpRvu', devices.sdpRvu)]
      return {
        sdk,
        options: ['--sdp_rvu_pf', pair.join(','), '--pem_dev', pem],
        vfio: [...pair, pem],
        hugepages: false,
        module: 'vfio-pci',
      }
    }
  }
}

function detected({ pem, sdpRvu, outOfTreeModule = false }: AgentDevices): AgentSdk {
  // Its module holds the link, so that no agent could have it through vfio.
  if (outOfTreeModule) return '12.24.11'
  if (pem.length === 0)
    throw new OffloadError('HARDWARE_FAILURE', 'the card shows no PCI link (177d:a06c): no control agent fits its firmware', {
      hint: `update the firmware to SDK 12.25.01 or later; for an older one load ${OUT_OF_TREE_MODULE} and configure sdk: '12.24.11'`,
    })
  return sdpRvu.length === 0 ? '12.25.01' : '12.25.03'
}

/** What the functions are called in messages. */
const NAMES: Readonly<Record<'pem' | 'dpi' | 'sdpRvu', string>> = {
  pem: 'PCI link (177d:a06c)',
  dpi: 'DMA engine (177d:a080)',
  sdpRvu: 'packet interface for the agent (177d:a0ef)',
}

interface Needs {
  readonly code: 'HARDWARE_FAILURE' | 'INVALID_CONFIG'
  only(kind: keyof typeof NAMES, found: readonly string[]): string
  first(kind: keyof typeof NAMES, found: readonly string[]): string
  pair(kind: keyof typeof NAMES, found: readonly string[]): readonly [string, string]
}

function needs(code: Needs['code'], sdk: AgentSdk): Needs {
  const lacks = (wanted: string, kind: keyof typeof NAMES, found: readonly string[]): OffloadError =>
    new OffloadError(code, `the control agent of SDK ${sdk} needs ${wanted} ${NAMES[kind]}, found: ${found.join(', ') || 'none'}`, {
      hint: HINTS[kind],
    })
  return {
    code,
    only(kind, found) {
      const [one, ...others] = found
      if (one === undefined || others.length > 0) throw lacks('exactly one', kind, found)
      return one
    },
    first(kind, found) {
      const [one] = found.toSorted(comparePciAddresses)
      if (one === undefined) throw lacks('a', kind, found)
      return one
    },
    pair(kind, found) {
      const [one, two] = found.toSorted(comparePciAddresses)
      if (one === undefined || two === undefined) throw lacks('two of the', kind, found)
      return [one, two]
    },
  }
}

const HINTS: Readonly<Record<keyof typeof NAMES, string>> = {
  pem: 'the firmware decides which functions there are; compare it with the release of the agent',
  dpi: "configure sdk: '12.25.03' if the firmware is of that SDK or later",
  sdpRvu: "firmware before SDK 12.25.03 has none: configure sdk: '12.25.01' for it, or update the firmware",
}
