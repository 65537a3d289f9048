#include "controlplane/image/tiny_init.h"

#include <fmt/format.h>

namespace stoa::image {

namespace {

constexpr std::string_view kInitHead = R"sh(#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/sbin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
ln -s /proc/self/fd /dev/fd
dmesg -n 1
)sh";

constexpr std::string_view kInitTail = R"sh(
name=tiny
for word in $(cat /proc/cmdline); do
    case $word in stoa.hostname=*) name=${word#stoa.hostname=} ;; esac
done
hostname "$name"
echo "127.0.0.1 localhost $name" > /etc/hosts
ip link set lo up
data=$(findfs LABEL=stoa-data 2>/dev/null)
[ -z "$data" ] && [ -b /dev/vda ] && data=/dev/vda
[ -n "$data" ] && mount -t ext4 "$data" /mnt 2>/dev/null

# Each network card has its own DHCP client, those that are plugged in later too.
networks() {
    while :; do
        for path in /sys/class/net/*; do
            card=${path##*/}
            [ "$card" = lo ] && continue
            pid=/run/udhcpc.$card.pid
            [ -f "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null && continue
            ip link set "$card" up
            udhcpc -b -S -A 3 -T 1 -t 5 -i "$card" -p "$pid" -x "hostname:$name" \
                -s /etc/udhcpc.script >/dev/null 2>&1
        done
        sleep 3
    done
}
networks &

acpid -c /etc/acpi -l /dev/null -p /run/acpid.pid 2>/dev/null

# There is no udev that would name the agent's channel.
agent() {
    mkdir -p /dev/virtio-ports
    channel=/dev/virtio-ports/org.qemu.guest_agent.0
    while :; do
        for port in /sys/class/virtio-ports/*; do
            [ -f "$port/name" ] && ln -sf "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
        done
        [ -e "$channel" ] && qemu-ga -m virtio-serial -p "$channel" -t /run >/dev/null 2>&1
        sleep 1
    done
}
agent &
echo "tiny: up after $(cut -d' ' -f1 /proc/uptime) s" > /dev/console
export PS1='\h:\w# '
cd /root
while :; do
    setsid sh -c 'exec sh -l </dev/ttyS0 >/dev/ttyS0 2>&1'
    sleep 1
done
)sh";

constexpr std::string_view kDhcp = R"sh(#!/bin/busybox sh
case $1 in
deconfig) ip addr flush dev "$interface" ;;
bound|renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do ip route add default via "$gateway" dev "$interface"; done
    : > /etc/resolv.conf
    [ -n "$domain" ] && echo "search $domain" >> /etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >> /etc/resolv.conf; done ;;
esac
exit 0
)sh";

constexpr std::string_view kShutdown = R"sh(#!/bin/busybox sh
how=poweroff
for word in "$@"; do
    case $word in -r) how=reboot ;; -H) how=halt ;; esac
done
(
    sync
    umount /mnt 2>/dev/null || mount -o remount,ro /mnt 2>/dev/null
    "$how" -f
) >/dev/null 2>&1 &
exit 0
)sh";

constexpr std::string_view kPowerButton = R"sh(#!/bin/busybox sh
exec /sbin/shutdown -P
)sh";

}  // namespace

std::string init_script(const std::vector<std::string>& modules) {
    std::string script(kInitHead);
    script += "for module in";
    for (const std::string& module : modules) script += " " + module;
    script += "; do insmod \"/lib/modules/$module.ko\" 2>/dev/null; done\n";
    script += kInitTail;
    return script;
}

std::string_view dhcp_script() { return kDhcp; }
std::string_view shutdown_script() { return kShutdown; }
std::string_view power_button_script() { return kPowerButton; }

std::string os_release(std::string_view kernel_version) {
    return fmt::format(
        "ID=stoa-tiny\nNAME=\"Stoa tiny\"\nPRETTY_NAME=\"Stoa tiny ({0})\"\nVERSION=\"{0}\"\n"
        "VERSION_ID=\"{0}\"\n",
        kernel_version);
}

}  // namespace stoa::image
