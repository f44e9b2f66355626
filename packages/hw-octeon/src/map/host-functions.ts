import { OffloadError } from '@cni-offload/sdk'
import { formatPciAddress, parsePciAddress, type PciDevice } from '@cni-offload/linux/pci'
import { hostFunctions, type OcteonFunctions } from '../pci/functions.ts'

/**
 * The physical function of a host.
 *
 * @param wanted - its address, where there are several cards
 * @throws OffloadError HARDWARE_FAILURE (there is none, or several and none is named), INVALID_CONFIG (the named one is none)
 */
export function hostFunction(inventory: Pick<OcteonFunctions, 'functions'>, wanted?: string): PciDevice {
  const pfs = hostFunctions(inventory)
  const shown = pfs.map(({ address }) => address).join(', ')
  if (wanted !== undefined) {
    const address = formatPciAddress(parsePciAddress(wanted, 'pf'))
    const pf = pfs.find((candidate) => candidate.address === address)
    if (pf !== undefined) return pf
    throw new OffloadError('INVALID_CONFIG', `pf = ${wanted}: no physical function of an OCTEON`, {
      hint: shown === '' ? 'This machine has none.' : `This machine has ${shown}.`,
    })
  }
  const [pf, ...others] = pfs
  if (pf === undefined) {
    throw new OffloadError('HARDWARE_FAILURE', 'this machine has no physical function of an OCTEON', {
      hint: 'Is this the host? See whether the card is seated, has power and has booted.',
    })
  }
  if (others.length === 0) return pf
  throw new OffloadError('HARDWARE_FAILURE', `this machine has several physical functions of OCTEONs: ${shown}`, {
    hint: 'Name the one to use (option pf).',
  })
}
