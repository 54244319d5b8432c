# This script starts Octet on a board whose firmware is U-Boot.
#
# U-Boot's distro boot finds it as /boot.scr on partition 1 and sets devtype and
# devnum to the disk it is on. It never returns: U-Boot would go on with the
# EFI boot loader that is on the same partition for PCs. It saves no variable.
#
# Two places, a and b, can have a slot each. Which one is started, and how many
# tries it has left, stands in the boot state: two copies on the partition
# octet-bootstate, the second one 512 KiB (400 hexadecimal blocks) behind the
# first. What is to be loaded for a place stands in /octet/a.env and
# /octet/b.env on partition 1.
#
# The memory at pxefile_addr_r is for what is small: the state and the text
# files. The kernel goes to ramdisk_addr_r, because it has more room than
# kernel_addr_r on a Raspberry Pi; the initrd needs no address, because the
# kernel loads it through EFI. The device tree goes to kernel_addr_r, because
# not every board has fdt_addr_r.
#
# A loop's variable must not be one that setenv sets: the latter is what is read
# in the loop.

${devtype} dev ${devnum}
part uuid ${devtype} ${devnum}:1 octet_esp

# Of the copies whose checksum is right, the one with the larger seq counts. The
# other one is written next, so that a write that fails leaves this one.
setenv octet_this
setenv octet_seq 0
if part start ${devtype} ${devnum} octet-bootstate octet_copy0; then
    setexpr octet_copy1 ${octet_copy0} + 400
    setexpr octet_state ${pxefile_addr_r} + 200
    for octet_copy in ${octet_copy0} ${octet_copy1}; do
        setenv seq
        if ${devtype} read ${pxefile_addr_r} ${octet_copy} 1 && env import -c ${pxefile_addr_r} 200 seq; then
            if test -z "${octet_this}" || itest 0${seq} -gt ${octet_seq}; then
                setenv octet_this ${octet_copy}
                setenv octet_seq 0${seq}
                cp.b ${pxefile_addr_r} ${octet_state} 200
            fi
        else
            echo "octet: the copy of the boot state in block 0x${octet_copy} is not valid"
        fi
    done
else
    echo "octet: there is no partition octet-bootstate"
fi

# The order to try the places in: those with tries left, then the rest, and of
# each kind the one named by first before the other.
setenv octet_order "a b"
if test -n "${octet_this}"; then
    setenv octet_next ${octet_copy0}
    if test ${octet_this} = ${octet_copy0}; then
        setenv octet_next ${octet_copy1}
    fi
    for octet_variable in a a_left b b_left first seq; do
        setenv ${octet_variable}
    done
    env import -c ${octet_state} 200 a a_left b b_left first seq
    if test "${first}" = b; then
        setenv octet_order "b a"
    fi
    setenv octet_ready
    setenv octet_rest
    for octet_place in ${octet_order}; do
        setenv octet_name "${a}"
        setenv octet_left "${a_left}"
        if test ${octet_place} = b; then
            setenv octet_name "${b}"
            setenv octet_left "${b_left}"
        fi
        if test -n "${octet_name}"; then
            if test "${octet_left}" = good || test "${octet_left}" -gt 0; then
                setenv octet_ready "${octet_ready} ${octet_place}"
            else
                setenv octet_rest "${octet_rest} ${octet_place}"
            fi
        fi
    done
    setenv octet_order "${octet_ready} ${octet_rest}"
else
    echo "octet: there is no valid boot state, so nothing is counted"
fi

for octet_place in ${octet_order}; do
    for octet_variable in slot linux initrd options trial dtb; do
        setenv ${octet_variable}
    done
    if load ${devtype} ${devnum}:1 ${pxefile_addr_r} /octet/${octet_place}.env; then
        env import -t ${pxefile_addr_r} ${filesize} slot linux initrd options trial dtb
    fi

    setenv octet_name "${slot}"
    setenv octet_left
    if test -n "${octet_this}"; then
        setenv octet_name "${a}"
        setenv octet_left "${a_left}"
        if test ${octet_place} = b; then
            setenv octet_name "${b}"
            setenv octet_left "${b_left}"
        fi
    fi

    setenv octet_why
    if test -z "${slot}" || test -z "${linux}" || test -z "${initrd}"; then
        setenv octet_why "/octet/${octet_place}.env is not there or not whole"
    else
        if test "${slot}" != "${octet_name}"; then
            setenv octet_why "/octet/${octet_place}.env is for slot ${slot}, not for ${octet_name}"
        fi
    fi

    # A try is counted before anything large is loaded, so that a board that
    # stops there counts as well. A count that cannot be written stops nothing.
    setenv octet_tries "not counted"
    if test -z "${octet_why}" && test -n "${octet_this}"; then
        setenv octet_tries "${octet_left} tries left"
        if test "${octet_left}" = good; then
            setenv octet_tries good
        fi
        if test "${octet_left}" -gt 0; then
            setexpr octet_left ${octet_left} - 1
            setenv ${octet_place}_left ${octet_left}
            setenv octet_tries "${octet_left} tries left"
            if test ${octet_left} = 1; then
                setenv octet_tries "1 try left"
            fi
            setexpr seq 0${seq} + 1
            env export -c -s 200 ${pxefile_addr_r} a a_left b b_left first seq
            if ${devtype} write ${pxefile_addr_r} ${octet_next} 1; then
                setenv octet_copy ${octet_next}
                setenv octet_next ${octet_this}
                setenv octet_this ${octet_copy}
            else
                echo "octet: the boot state cannot be written"
            fi
        fi
    fi

    # The kernel's EFI stub would start without an initrd that it cannot find.
    if test -z "${octet_why}"; then
        test -e ${devtype} ${devnum}:1 ${initrd} || setenv octet_why "${initrd} is not there"
        load ${devtype} ${devnum}:1 ${ramdisk_addr_r} ${linux} || setenv octet_why "${linux} cannot be loaded"
    fi

    if test -z "${octet_why}"; then
        # The device tree is the slot's, if it has one for this board, else the
        # firmware's. The slot's file of trees begins with an index, which is
        # 2000 hexadecimal bytes of text: a line fdtfile=SIZE OFFSET for each.
        setenv octet_tree ${fdtcontroladdr}
        if test -n "${dtb}" && test -n "${fdtfile}"; then
            setenv ${fdtfile}
            if load ${devtype} ${devnum}:1 ${pxefile_addr_r} ${dtb} 2000; then
                env import -t ${pxefile_addr_r} ${filesize} ${fdtfile}
            fi
            # There is no other way to get at a variable by a name in a variable.
            setenv octet_find setenv octet_where "\${${fdtfile}}"
            run octet_find
            if test -n "${octet_where}"; then
                if load ${devtype} ${devnum}:1 ${kernel_addr_r} ${dtb} ${octet_where} && fdt addr -q ${kernel_addr_r}; then
                    setenv octet_tree ${kernel_addr_r}
                fi
            fi
        fi

        setenv bootargs "${options} initrd=${initrd} octet.counter=bootstate octet.esp=${octet_esp}"
        if test -n "${octet_left}" && test "${octet_left}" != good; then
            setenv bootargs "${bootargs} octet.trial=${trial}"
        fi
        echo "octet: starting slot ${slot} (place ${octet_place}, ${octet_tries})"
        bootefi ${ramdisk_addr_r} ${octet_tree}
        setenv octet_why "slot ${slot} came back"
    fi
    echo "octet: place ${octet_place} does not start: ${octet_why}"
done

echo "octet: nothing starts, so the board is reset"
reset
