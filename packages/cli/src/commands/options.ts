import { InvalidArgumentError, Option } from 'commander'
import { OffloadError } from '@cni-offload/sdk'
import { LAB_ADAPTERS, LAB_HARDWARE, type LabNetwork } from '../lab/model.ts'

/** A whole number of at least 1, from the command line. */
export function count(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('a whole number of at least 1 is expected.')
  return value
}

/** `--adapter`. */
export function adapterOption(): Option {
  return new Option('--adapter <name>', 'what connects pods on the DPU').choices(LAB_ADAPTERS).default('delegate')
}

/** `--network`, any number of times: `NAME=ADAPTER` or `NAME=ADAPTER:ports`. */
export function networkOption(): Option {
  return new Option('--network <name=adapter[:ports]>', 'a further network, for example net1=hello or net1=hello:soft0/6-7 (repeatable)')
    .argParser((text, earlier: readonly LabNetwork[]) => [...earlier, networkOf(text)])
    .default([])
}

function networkOf(text: string): LabNetwork {
  const { name = '', adapter = '', ports } = /^(?<name>[^=]+)=(?<adapter>[^:]+)(:(?<ports>.+))?$/.exec(text)?.groups ?? {}
  const known = LAB_ADAPTERS.find((candidate) => candidate === adapter)
  if (known === undefined) throw new InvalidArgumentError(`NAME=ADAPTER is expected, with ${LAB_ADAPTERS.join(' or ')}.`)
  return { name, adapter: known, ports: ports?.split(',') }
}

/** `--hardware`. */
export function hardwareOption(): Option {
  return new Option('--hardware <name>', 'what stands for the card').choices(LAB_HARDWARE).default('soft')
}

/** Namespaces and interfaces need root. @throws OffloadError PERMISSION_DENIED that says what to do */
export function requireRoot(what: string): void {
  if (process.getuid?.() !== 0)
    throw new OffloadError('PERMISSION_DENIED', `${what} makes network namespaces, which only root may do`, {
      hint: 'run it as root, for example with sudo',
    })
}
