import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { OWN_NETNS } from '@cni-offload/linux'
import { FunctionNetdevs, type Recover } from '@cni-offload/linux/function'
import { bindVfio, readPciDevice, restoreDriver, vfioUsers, VFIO_DRIVER } from '@cni-offload/linux/pci'
import { Card, machine, patience, until } from './support.ts'

describe('VFs in the hands of user space', () => {
  let card: Card
  before(async () => {
    card = await Card.with(3, true)
  })
  after(async () => await card[Symbol.asyncDispose]())

  test('a VF is handed to user space: a program can open it, and while it does nobody takes it back', async () => {
    const address = card.end(0).pciAddress ?? ''
    const binding = await bindVfio(machine, address)
    assert.deepEqual(
      { ...binding, group: 0, node: '', undo: undefined },
      { address, group: 0, node: '', noIommu: false, changed: true, before: { driver: 'igbvf', override: undefined }, undo: undefined },
    )
    const bound = await readPciDevice(machine, address)
    assert.deepEqual([bound?.driver, bound?.netdevs, bound?.iommuGroup], [VFIO_DRIVER, undefined, binding.group])
    assert.equal(binding.node, `/dev/vfio/${binding.group}`)
    assert.equal((await bindVfio(machine, address)).changed, false)

    const program = await open(binding.node, 'r+')
    try {
      assert.deepEqual(
        (await vfioUsers(machine, binding.group)).map(({ pid }) => pid),
        [process.pid],
      )
      await assert.rejects(binding.undo(), {
        code: 'ALREADY_EXISTS',
        message: new RegExp(`process ${process.pid} .* group ${binding.group}`),
      })
    } finally {
      await program.close()
    }
    await binding.undo()
    const back = await readPciDevice(machine, address)
    assert.deepEqual([back?.driver, back?.driverOverride], ['igbvf', undefined])
  })

  test('back from user space a VF has a new interface, which becomes the old one', async () => {
    const end = card.end(1)
    const address = end.pciAddress ?? ''
    const binding = await bindVfio(machine, address)
    await binding.undo()
    await until('the VF has an interface', async () => (await readPciDevice(machine, address))?.netdevs?.length === 1)
    const anew = (await card.net.links(OWN_NETNS)).find(({ parent }) => parent?.name === address)
    // Its driver has made up another address, and nothing is noted.
    assert.notEqual(anew?.mac, end.mac)
    assert.equal(anew?.alias, '')
    const unneeded: Recover = async () => {
      throw new Error('the function is there: nobody needs to look for it')
    }
    await new FunctionNetdevs(card.net, OWN_NETNS).release(end, {}, unneeded, patience())
    const home = await card.net.link(OWN_NETNS, end.name)
    assert.deepEqual([home?.mac, home?.up, home?.parent?.name], [end.mac, false, address])
  })

  test('a driver that was not the one of before is not guessed: a function without a driver gets none', async () => {
    const address = card.end(2).pciAddress ?? ''
    await bindVfio(machine, address)
    await restoreDriver(machine, address, { driver: undefined, override: undefined })
    const free = await readPciDevice(machine, address)
    assert.deepEqual([free?.driver, free?.driverOverride], [undefined, undefined])
  })
})
