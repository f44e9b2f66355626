import { OffloadError } from '@cni-offload/sdk'
import type { DpuFirmware } from './dpu/layout.ts'
import type { FakeOcteonMachine } from './fake-machine.ts'
import { HOST_PF } from './host/host-pf.ts'

/** Memory of the control agent in KiB, as the vendor's package asks for. */
const AGENT_MEMORY_KB = 262_144

const CPT_PF = '0002:20:00.0'

/** Functions that the control agent of a firmware release works with, through vfio. */
const AGENT_FUNCTIONS: Readonly<Record<DpuFirmware, readonly string[]>> = {
  '12.24.09': [],
  '12.25.01': ['0001:00:10.0', '0000:06:00.0'],
  '12.25.03': ['0001:00:10.0', '0002:18:00.0', '0002:19:00.0'],
}

/** Does on a DPU what has to be done before its control agent can start, and what the crypto engine needs. */
export async function prepareDpu(machine: FakeOcteonMachine, firmware: DpuFirmware, hugepageKb: number, crypto: boolean): Promise<void> {
  await command(machine, ['modprobe', firmware === '12.24.09' ? 'pcie_marvell_cnxk_ep' : 'vfio-pci'])
  for (const address of AGENT_FUNCTIONS[firmware]) {
    const folder = `/sys/bus/pci/devices/${address}`
    if ((await machine.list(folder)).includes('driver')) await machine.write(`${folder}/driver/unbind`, address)
    await machine.write(`${folder}/driver_override`, 'vfio-pci')
    await machine.write('/sys/bus/pci/drivers_probe', address)
  }
  await command(machine, ['mkdir', '-p', '/dev/huge'])
  await command(machine, ['mount', '-t', 'hugetlbfs', 'none', '/dev/huge'])
  await machine.write('/proc/sys/vm/nr_hugepages', String(Math.ceil(AGENT_MEMORY_KB / hugepageKb)))
  if (crypto) await machine.write(`/sys/bus/pci/devices/${CPT_PF}/sriov_numvfs`, '1')
}

/** Does on a host what makes its functions usable; they may appear later. */
export async function prepareHost(machine: FakeOcteonMachine, vfs: number): Promise<void> {
  await command(machine, ['modprobe', 'octeon_ep'])
  await command(machine, ['modprobe', 'octeon_ep_vf'])
  await machine.write(`/sys/bus/pci/devices/${HOST_PF}/sriov_numvfs`, String(vfs))
}

async function command(machine: FakeOcteonMachine, argv: readonly [string, ...string[]]): Promise<void> {
  const { exitCode, stderr } = await machine.run(argv, new AbortController().signal)
  if (exitCode !== 0) throw new OffloadError('INTERNAL', `${argv.join(' ')}: ${stderr.trim()}`)
}
