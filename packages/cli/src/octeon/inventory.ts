import { type OcteonInventory, readInventory, type SdpPorts, sdpPorts } from '@cni-offload/hw-octeon'
import { OffloadError } from '@cni-offload/sdk'
import { Command } from 'commander'
import type { OcteonSite } from './site.ts'

/** `offload octeon inventory`: what this machine has of a card, and what is wrong with it. */
export function inventoryCommand({ machine }: OcteonSite): Command {
  return new Command('inventory')
    .description("this machine's functions of a card, which port of the DPU belongs to which VF, and what is wrong")
    .option('--root <folder>', 'where the files of the machine are', '/')
    .option('--json', 'as JSON')
    .action(async ({ root, json = false }: { readonly root: string; readonly json?: boolean }) => {
      const inventory = await readInventory(machine(root))
      process.stdout.write(json ? `${JSON.stringify(inventoryView(inventory), null, 2)}\n` : inventoryPage(inventory))
    })
}

/** An inventory as scripts read it. */
export interface InventoryView extends Pick<OcteonInventory, 'side' | 'layout' | 'chip' | 'unknown' | 'problems'> {
  /** Known functions by address. */
  readonly functions: readonly Readonly<Record<string, unknown>>[]
  /** The map of ports, on a DPU. */
  readonly ports: SdpPorts | undefined
  /** Why there is no map on this DPU. */
  readonly noPorts: string | undefined
}

/** What is known of a machine, with the map of ports. */
export function inventoryView(inventory: OcteonInventory): InventoryView {
  const { side, layout, chip, unknown, problems, functions } = inventory
  const map = portsOf(inventory)
  return {
    side,
    layout,
    chip,
    functions: functions.map(({ pci, what }) => ({ ...pci, block: what.block, kind: what.kind })),
    unknown,
    ports: typeof map === 'string' ? undefined : map,
    noPorts: typeof map === 'string' ? map : undefined,
    problems,
  }
}

function portsOf(inventory: OcteonInventory): SdpPorts | string | undefined {
  if (inventory.side !== 'dpu') return undefined
  try {
    return sdpPorts(inventory)
  } catch (error) {
    if (OffloadError.is(error)) return error.message
    throw error
  }
}

/** The same as a page of text. */
export function inventoryPage(inventory: OcteonInventory): string {
  const { side, layout, chip, ports, noPorts, problems } = inventoryView(inventory)
  const chipText = chip === undefined ? 'unknown chip' : `${chip.part ?? `chip 0x${chip.id}`} ${chip.stepping}`
  const head = side === undefined ? 'no card' : `${side}: ${chipText}${layout === undefined ? '' : `, layout ${layout}`}`
  const role = (address: string): string => {
    const vf = ports?.vfs.indexOf(address) ?? -1
    if (address === ports?.management) return "the host's physical function"
    return vf < 0 ? '' : `VF ${vf}`
  }
  const rows = inventory.functions.map(({ pci, what }) => [
    pci.address,
    `177d:${pci.device}`,
    `${what.block} ${what.kind}`,
    pci.driver ?? '-',
    pci.netdevs?.join(',') || '-',
    role(pci.address),
  ])
  const wrong = problems.flatMap(({ seen, remedy }) => [`! ${seen}`, `  → ${remedy}`])
  const missing = noPorts === undefined ? [] : [`! no map of ports: ${noPorts}`]
  return [head, ...table(rows), ...wrong, ...missing].map((line) => `${line.trimEnd()}\n`).join('')
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`)
}
